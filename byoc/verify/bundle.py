"""A partition with its inputs and golden outputs in a folder, for a report to whoever wrote the codegen."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

import byoc
from byoc.artifact import Artifact
from byoc.errors import UsageError
from byoc.partitioner.plan import Plan
from byoc.verify.check import PartitionError
from byoc.verify.reference import References

_RUN = Path(__file__).with_name("run_bundle.py")


def write_bundle(folder: Path, plan: Plan, artifact: Any, error: PartitionError) -> tuple[str, ...]:
    """Write one partition into `folder` and return the names of the files.

    ``inputs/`` and ``golden/`` are arrays; ``partition.json`` is the excerpt of the plan with what was measured;
    ``partition.txt`` the Relax function; ``partition.byoc`` an artifact of this partition alone, and ``run.py`` runs it
    and compares; the generated source is there if there is one.

    Raises :class:`UsageError` when the folder is not empty.
    """
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(
            f"the folder {folder} is not empty", "a bundle would be mixed with what is there", "name another"
        )
    function = References(plan, [error.symbol]).functions[error.symbol]
    names = [str(p.name) for p in function.params][: len(error.record.inputs)]
    _write_arrays(folder / "inputs", dict(zip(names, error.record.inputs, strict=True)))
    made = (*error.record.golden, *error.record.states)
    golden = {d.name.replace(" ", "_"): a for d, a in zip(error.differences, made, strict=True)}
    _write_arrays(folder / "golden", golden)
    _write(folder / "partition.txt", function.script(show_meta=False) + "\n")
    for name, text in getattr(artifact, "sources", {}).items():
        if Path(name).stem == error.symbol:
            _write(folder / Path(name).name, text)
    compiled = None if error.record.states else _compiled_alone(plan, error, function)
    note = ""
    if error.record.states:
        note = "the partition updates states, which its inputs hold and an artifact of it alone would begin without"
    elif compiled is None:
        note = "the partition alone is cut otherwise, so that there is no artifact of it"
    if compiled is not None:
        compiled.save(folder / "partition.byoc")
        _write(folder / "run.py", _RUN.read_text(encoding="utf-8"))
    _write(folder / "partition.json", json.dumps(_excerpt(plan, error, names, note), indent=1, default=str) + "\n")
    return tuple(sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """One file for each array; their order is in ``partition.json``."""
    folder.mkdir()
    for number, (name, array) in enumerate(arrays.items()):
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
        np.save(folder / f"{number:02d}_{safe}.npy", array, allow_pickle=False)


def _compiled_alone(plan: Plan, error: PartitionError, function: Any) -> Artifact | Any | None:
    """An artifact whose only partition is this one; None when its codegen cuts the function alone in another way."""
    sizes: dict[str, int] = {}
    for param, array in zip(function.params, error.record.inputs, strict=False):
        for dim, size in zip(param.ty.shape.values, array.shape, strict=True):
            if isinstance(dim, tvm.ir.Var):
                sizes[str(dim.name)] = int(size)
    if str(function.params[-1].name) == "shape_args":
        for dim, size in zip(function.params[-1].ty.values, error.record.shape_args, strict=True):
            sizes[str(dim.name)] = size
        function = _without_shape(function, sizes)
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    use = next(t for t in plan.targets if t.name == error.target)
    alone = byoc.partition(module, [use.name], options={use.name: dict(use.options)})
    if len(alone.functions[0].partitions) != 1 or any(op.partition < 0 for op in alone.functions[0].ops):
        return None
    return byoc.compile(alone, use_cache=False)


def _without_shape(function: Any, sizes: Mapping[str, int]) -> Any:
    bound = function.bind_symbolic_vars(dict(sizes))
    return relax.Function(bound.params[:-1], bound.body, bound.ret_ty, bound.is_pure, bound.attrs)


def _excerpt(plan: Plan, error: PartitionError, names: list[str], note: str) -> dict[str, Any]:
    function = next(f for f in plan.functions if any(p.symbol == error.symbol for p in f.partitions))
    part = next(p for p in function.partitions if p.symbol == error.symbol)
    use = next(t for t in plan.targets if t.name == error.target)
    return {
        "byoc": byoc.__version__,
        "symbol": error.symbol,
        "codegen": {"name": use.name, "version": use.version, "options": dict(use.options)},
        "inputs": names,
        "shape_args": list(error.record.shape_args),
        "differences": [asdict(d) for d in error.differences],
        "composites": [asdict(c) for c in part.composites],
        "ops": [asdict(function.ops[i]) for i in part.ops],
        "note": note,
    }
