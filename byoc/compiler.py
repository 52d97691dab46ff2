"""`partition` and `compile`: from a model to a plan, and from a plan to an artifact."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from byoc.artifact import (
    Artifact,
    CodegenRecord,
    EntryFunction,
    KernelRecord,
    Manifest,
    OpenedArtifact,
    PartitionRecord,
    WeightStore,
    open_artifact,
)
from byoc.artifact.interface import interface_source, interface_words
from byoc.cache import Cache, default_folder
from byoc.cache_key import cache_parts, source_digest
from byoc.codegen import CSource, PyFunc, RuntimeModule
from byoc.compat import TVM_FFI_VERSION, TVM_VERSION
from byoc.contract import requirements
from byoc.errors import PlanError, UsageError
from byoc.host.kernels import noting_kernels
from byoc.host.pipeline import compile_host, host_target
from byoc.host.prepare import prepare_host
from byoc.importer.table import digest_of_users_lowerings
from byoc.link import check_symbols, link, work_folder
from byoc.lower.compile_c import CCompiler, cpu_features
from byoc.lower.emit import ON_FAIL, Compiled, Lowered, lower
from byoc.lower.external import call_externally, lift_constants
from byoc.model import PreparedModel, prepare_model
from byoc.partitioner.consistency import check_plan_of
from byoc.partitioner.cost import CostModel
from byoc.partitioner.measured import MeasuredCosts
from byoc.partitioner.plan import Plan, Settings, TargetUse
from byoc.partitioner.planner import fingerprint, plan_functions
from byoc.partitioner.target import Target, find_targets
from byoc.runtime.threads import thread_count
from byoc.tune import Database, Place, Tuning

Progress = Callable[[str, int, int], None]


def partition(
    model: Any,
    targets: Sequence[str] = (),
    *,
    pins: Sequence[str] = (),
    policy: str = "priority",
    min_ops: int = 1,
    max_partitions: int | None = None,
    min_saving: float = 0.0,
    shapes: Mapping[str, Sequence[Any]] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    plan: Plan | None = None,
    costs: MeasuredCosts | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan a model: who owns every op, and why.

    Parameters
    ----------
    model: path of an ONNX file, its bytes, a ``ModelProto``, or a Relax ``IRModule``; the path of a language model's
        folder, or a :class:`byoc.llm.LanguageModel`; or the `model` of a plan for targets with the same `passes` and
        `layout`, which spares importing it again.
    targets: names of codegens in the order of priority; the host takes the rest.
    pins: ``"NODE=owner"``, ``"op:TYPE=owner"``, ``"/regex/=owner"``.
    policy: ``"priority"`` or ``"cost"``.
    min_ops, max_partitions, min_saving: see :class:`byoc.partitioner.Settings`.
    shapes: per input, one entry per dimension: a size fixes it, a name makes it that symbol, None leaves it free.
    options: per target, values of its options.
    plan: replay this plan instead of making a new one; it must be for the same model and targets.
    costs: measured seconds, which take the place of estimates; see :func:`byoc.profile.measure_costs`.

    Raises
    ------
    UsageError, ModelError, PluginError, PlanError
    """
    report = progress or (lambda *_: None)
    if policy not in ("priority", "cost"):
        raise UsageError(f'there is no policy "{policy}"', "", "use priority or cost")
    if plan is not None:
        targets = [t.name for t in plan.targets]
        options = {t.name: dict(t.options) for t in plan.targets}
    found = find_targets(targets, options)
    report("import", 0, 1)
    prepared = model if isinstance(model, PreparedModel) else prepare_model(model, found, shapes=shapes)
    graphs = list(prepared.graphs.values())
    mark = fingerprint(graphs)
    if plan is not None:
        _require_same_model(plan, prepared, mark, found)
        return replace(plan, model=prepared)
    settings = Settings(policy, min_ops, float(min_saving), max_partitions, tuple(pins))
    report("plan", 0, 1)
    model_of_cost = CostModel(settings.nominal_dim, measured=costs or MeasuredCosts())
    functions = plan_functions(graphs, found, settings, model=model_of_cost, progress=progress)
    uses = tuple(TargetUse(t.name, t.version, tuple(sorted(t.options.items()))) for t in found)
    return Plan(prepared.name, prepared.digest, mark, uses, settings, functions, model=prepared)


def _require_same_model(plan: Plan, prepared: PreparedModel, mark: str, targets: Sequence[Target]) -> None:
    if plan.fingerprint != mark:
        raise PlanError(
            f"the plan was made for another model ({plan.model_name})",
            "the ops, shapes or attributes differ",
            "make a plan for this model with --save-plan",
        )
    check_plan_of(plan, prepared.graphs)
    for use, target in zip(plan.targets, targets, strict=True):
        if use.version != target.version:
            raise PlanError(
                f'the plan was made with version {use.version} of codegen "{use.name}"; {target.version} is installed',
                "its patterns may have changed",
                "make the plan again",
            )
        for function in plan.functions:
            for part in function.partitions:
                unknown = {c.pattern for c in part.composites if part.target == use.name} - set(target.patterns)
                if unknown:
                    raise PlanError(
                        f'the plan uses the pattern "{min(unknown)}" that codegen "{use.name}" does not have'
                    )


def compile(
    model: Any,
    targets: Sequence[str] = (),
    *,
    on_fail: str = "split",
    mcpu: str | None = None,
    cache_dir: str | Path | None = None,
    use_cache: bool = True,
    tune: int = 0,
    tune_db: str | Path | None = None,
    progress: Progress | None = None,
    **planning: Any,
) -> Artifact | OpenedArtifact:
    """Compile a plan, or a model as :func:`partition` takes it.

    Parameters
    ----------
    model: a plan from :func:`partition`, or a model; then `targets` and the other keywords of :func:`partition` apply.
    on_fail: what happens when a codegen refuses a partition: ``"split"``, ``"host"`` or ``"abort"``.
    mcpu: CPU to compile for, as GCC and LLVM spell it; by default this machine's.
    cache_dir: folder of the compile cache; by default ``$BYOC_CACHE_DIR`` or ``~/.cache/byoc``.
    use_cache: whether to look in the cache and to add to it; codegens and lowerings that no file defines never do.
    tune: trials for each distinct convolution and matrix product on the host, added to `tune_db`; see `docs/tune.md`.
    tune_db: file with the trials to choose the host's kernels by; needed with `tune`, which makes it if need be.

    Raises
    ------
    UsageError, ModelError, PluginError, PlanError, ToolchainError
    """
    if on_fail not in ON_FAIL:
        raise UsageError(f'on_fail cannot be "{on_fail}"', "", f"it is one of {', '.join(ON_FAIL)}")
    if isinstance(model, Plan):
        if targets or planning:
            raise UsageError("compile was given a plan and planning keywords", "", "give those to partition")
        plan = model
    else:
        plan = partition(model, targets, progress=progress, **planning)
    if plan.model is None:
        raise PlanError("the plan has no model", "it was read from a file", "use partition(model, plan=plan)")
    found = find_targets([t.name for t in plan.targets], {t.name: dict(t.options) for t in plan.targets})
    cpu = mcpu or "native"
    report = progress or (lambda *_: None)
    with ExitStack() as stack:
        stack.enter_context(default_folder(cache_dir))
        tuning = _tuning(stack, tune, tune_db, cpu)
        if not use_cache or digest_of_users_lowerings() is None or not all(source_digest(t) for t in found):
            return _build(plan, found, on_fail, cpu, tuning, report)
        cache = Cache(cache_dir)
        if not tune:
            hit = cache.get(cache.key(*cache_parts(plan, found, on_fail, cpu, tuning)), "model.byoc")
            if hit is not None:
                return open_artifact(hit)
        artifact = _build(plan, found, on_fail, cpu, tuning, report)
        if not artifact.python_functions:
            # Tuning adds to the database, so that the key is known only now.
            cache.put(cache.key(*cache_parts(plan, found, on_fail, cpu, tuning)), "model.byoc", artifact.save)
        return artifact


def _tuning(stack: ExitStack, trials: int, file: str | Path | None, mcpu: str) -> Tuning | None:
    """Open the database, if one is named.  Raises :class:`UsageError`."""
    if trials < 0 or (trials and file is None):
        raise UsageError(
            f"tune={trials} " + ("is no number of trials" if trials < 0 else "needs a database"),
            "" if trials < 0 else "what is measured is kept there",
            "give tune_db=FILE",
        )
    if file is None:
        return None
    place = Place(str(host_target(mcpu).attrs["mcpu"]), thread_count(None))
    return Tuning(stack.enter_context(Database(file, create=trials > 0)), place, trials)


def _build(
    plan: Plan, targets: Sequence[Target], on_fail: str, mcpu: str, tuning: Tuning | None, report: Progress
) -> Artifact:
    prepared: PreparedModel = plan.model
    by_name = {t.name: t for t in targets}
    with work_folder() as folder:
        compiler = CCompiler(folder, mcpu)
        lowered = lower(prepared.module, prepared.graphs, plan, by_name, compiler, on_fail=on_fail, progress=report)
        weights = WeightStore()
        report("host", 0, 1)
        module, target = call_externally(lowered.module, lowered.compiled), host_target(mcpu)
        if tuning is not None:
            tuning.run(module, target, report)
        module, absorbed = prepare_host(module, target, tuning.choose if tuning is not None else None)
        module, lifted = lift_constants(module, weights.add)
        external = [c.emitted.module for c in lowered.compiled.values() if isinstance(c.emitted, RuntimeModule)]
        if external:
            module = module.with_attr("external_mods", external)
        with noting_kernels(prepared.graphs, absorbed) as kernels:
            executable = compile_host(module, mcpu)
        report("link", 0, 1)
        used = [t for t in targets if any(c.target is t for c in lowered.compiled.values())]
        objects = [c.object_file for c in lowered.compiled.values() if c.object_file]
        objects += [o for t in used for o in compiler.compile_device_sources(t.codegen)]
        libraries = [x for t in used for x in t.codegen.libraries]
        libraries += [
            x for c in lowered.compiled.values() if not isinstance(c.emitted, PyFunc) for x in c.emitted.libraries
        ]
        manifest = _manifest(lowered, prepared, used, weights, lifted, tuple(kernels), mcpu)
        objects.append(compiler.compile_own("interface", interface_source(interface_words(manifest, weights.arrays))))
        library = link(executable, objects, list(dict.fromkeys(libraries)), folder)
        promised = [(s, c.target.name) for s, c in lowered.compiled.items() if not isinstance(c.emitted, PyFunc)]
        check_symbols(library, promised)
    return _artifact(lowered, prepared, manifest, weights, library)


def _manifest(
    lowered: Lowered,
    prepared: PreparedModel,
    used: Sequence[Target],
    weights: WeightStore,
    lifted: Mapping[str, tuple[int, ...]],
    kernels: tuple[KernelRecord, ...],
    mcpu: str,
) -> Manifest:
    partitions = tuple(_partition_record(s, c, weights) for s, c in lowered.compiled.items())
    states = list(dict.fromkeys(spec for s in prepared.signatures.values() for spec in s.states))
    entries = tuple(
        EntryFunction(n, s.inputs, s.outputs, lifted.get(n, ()), tuple(states.index(spec) for spec in s.states))
        for n, s in prepared.signatures.items()
    )
    return Manifest(
        byoc_version=byoc.__version__,
        tvm_version=TVM_VERSION,
        tvm_ffi_version=TVM_FFI_VERSION,
        architecture=platform.machine(),
        cpu=mcpu,
        cpu_features=cpu_features(mcpu),
        codegens=tuple(CodegenRecord(t.name, t.version, requirements(t.name, t.codegen)) for t in used),
        entry_functions=entries,
        partitions=partitions,
        kernels=kernels,
        states=tuple(states),
        model_digest=prepared.digest,
        language_model=prepared.language_model,
    )


def _artifact(
    lowered: Lowered, prepared: PreparedModel, manifest: Manifest, weights: WeightStore, library: bytes
) -> Artifact:
    sources = {
        f"{symbol}.{'cc' if c.emitted.language == 'c++' else 'c'}": c.emitted.code
        for symbol, c in lowered.compiled.items()
        if isinstance(c.emitted, CSource)
    }
    functions = {s: _on_numpy(c.emitted.function) for s, c in lowered.compiled.items() if isinstance(c.emitted, PyFunc)}
    return Artifact(manifest, lowered.plan.to_json(), library, weights, functions, sources, prepared.tokenizer)


def _partition_record(symbol: str, compiled: Compiled, weights: WeightStore) -> PartitionRecord:
    emitted = compiled.emitted
    if isinstance(emitted, PyFunc):
        return PartitionRecord(symbol, compiled.target.name)
    constants = tuple(weights.add(name, array) for name, array in emitted.constants)
    return PartitionRecord(symbol, compiled.target.name, emitted.bind or None, constants)


def _on_numpy(function: Callable[..., None]) -> Callable[..., None]:
    """A vendor's Python function on NumPy views of the tensors that the VM passes."""

    def call(*tensors: Any) -> None:
        function(*(np.from_dlpack(t) for t in tensors))

    return call
