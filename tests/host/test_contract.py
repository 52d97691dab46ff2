"""What a codegen may do, and what happens when it does something else."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from tvm import relax
from tvm.relax.dpl import is_op, wildcard

import byoc
from byoc import Codegen, CSource, Option, PyFunc, RuntimeModule, op, register_codegen, reject
from byoc.errors import (
    ArtifactError,
    CheckError,
    CompilerError,
    EmitError,
    MissingSymbolError,
    OptionError,
    PluginLoadError,
    UnknownTargetError,
)
from tests.host.modules import dag, run_on_host

X = np.linspace(-2, 2, 32, dtype="float32").reshape(4, 8)
Y = np.cos(X).astype("float32")
CHAIN = dag([("relu", [-1]), ("exp", [0]), ("add", [1, -2]), ("relu", [2])], [3])
LOOP = "for (int64_t i = 0; i < {n}; ++i) {out}[i] = {formula};"
FORMULAS = {"nn.relu": "{0}[i] > 0 ? {0}[i] : 0", "exp": "expf({0}[i])", "add": "{0}[i] + {1}[i]"}


class Loops(Codegen):
    """One C loop for each op."""

    patterns = {name: op(name)(...) for name in FORMULAS}

    def emit_match(self, m: byoc.Match) -> str:
        formula = FORMULAS[m.root.op].format(*m.inputs)
        return LOOP.format(n=m.out.size, out=m.out, formula=formula)


def registered(name: str, base: type = Loops, **members: object) -> str:
    register_codegen(name, version="1")(type("Sample", (base,), {"__module__": __name__, **members}))
    return name


def results(target: str, module: object = CHAIN, **compiling: object) -> np.ndarray:
    session = byoc.compile(module, [target], use_cache=False, **compiling).session()
    return session.run({"x": X, "y": Y})["output"]


def expected(module: object = CHAIN) -> np.ndarray:
    return run_on_host(module, "main", X, Y)[0]


def test_statements_of_matches_are_stitched_into_one_function() -> None:
    artifact = byoc.compile(CHAIN, [registered("loops")], use_cache=False)
    (source,) = artifact.sources.values()
    assert source.count("/* nn.relu") == 2 and "expf" in source
    np.testing.assert_allclose(artifact.session().run({"x": X, "y": Y})["output"], expected(), rtol=1e-6)


def test_a_refused_partition_is_split_until_only_the_refused_composite_is_on_the_host() -> None:
    def emit_match(self: Loops, m: byoc.Match) -> object:
        return reject("no exponentials today", at=m.out) if m.root.op == "exp" else Loops.emit_match(self, m)

    target = registered("picky", emit_match=emit_match)
    artifact = byoc.compile(CHAIN, [target], use_cache=False)
    plan = byoc.Plan.from_json(artifact.plan_json)
    assert [o.owner for o in plan.functions[0].ops] == ["picky", "host", "picky", "picky"]
    verdict = plan.functions[0].ops[1].verdicts[0]
    assert verdict.stage == "compile" and "no exponentials today" in verdict.reason
    np.testing.assert_allclose(artifact.session().run({"x": X, "y": Y})["output"], expected(), rtol=1e-6)


def test_on_fail_host_gives_up_the_whole_partition_and_abort_raises() -> None:
    target = registered("refuser", emit_match=lambda self, m: reject("never"))
    plan = byoc.Plan.from_json(byoc.compile(CHAIN, [target], on_fail="host", use_cache=False).plan_json)
    assert plan.coverage()["refuser"] == (0, 0)
    with pytest.raises(EmitError, match="refused partition refuser_main_0"):
        byoc.compile(CHAIN, [target], on_fail="abort", use_cache=False)


def test_c_that_does_not_compile_counts_as_a_refusal_with_the_compilers_words() -> None:
    target = registered("typo", emit_match=lambda self, m: "this is not C;")
    plan = byoc.Plan.from_json(byoc.compile(CHAIN, [target], use_cache=False).plan_json)
    reason = plan.functions[0].ops[0].verdicts[0].reason
    assert "the C compiler refuses its code" in reason and "error" in reason


def test_an_emit_that_raises_is_named_with_its_line() -> None:
    with pytest.raises(EmitError, match=r'codegen "raiser": emit raised ZeroDivisionError') as caught:
        byoc.compile(CHAIN, [registered("raiser", emit_match=lambda self, m: 1 // 0)], use_cache=False)
    assert "test_contract.py" in caught.value.why


@pytest.mark.parametrize("nonsense", [None, 3, b"int x;"])
def test_an_emit_that_returns_nonsense_is_named(nonsense: object) -> None:
    with pytest.raises(EmitError, match="emit"):
        byoc.compile(CHAIN, [registered("nonsense", emit=lambda self, p: nonsense)], use_cache=False)


@pytest.mark.parametrize(
    ("fields", "what", "why"),
    [
        ({"code": b"int x;"}, "code is b'int x;'", "it must be C source as text"),
        ({"language": "fortran"}, "language is 'fortran'", 'it must be "c" or "c++"'),
        ({"workspace": "lots"}, "workspace is 'lots'", "it must be bytes, as an int or a Dim"),
        ({"constants": (("a", object()),)}, "constants is", "it must be pairs of a name and a numeric array"),
        ({"libraries": "m"}, "libraries is 'm'", "it must be a tuple of texts"),
    ],
)
def test_a_field_of_emitted_source_that_is_nonsense_is_named(fields: dict[str, object], what: str, why: str) -> None:
    def emit(self: Loops, partition: object) -> CSource:
        return CSource(**{"code": "int x;", "symbols": ("s",), **fields})  # type: ignore[arg-type]

    with pytest.raises(EmitError, match="emit returned a CSource for partition sloppy_main_0") as told:
        byoc.compile(CHAIN, [registered("sloppy", emit=emit)], use_cache=False)
    assert what in told.value.what and told.value.why == why


def test_a_runtime_module_that_is_none_is_named() -> None:
    def emit(self: Loops, partition: object) -> RuntimeModule:
        return RuntimeModule(5, ("s",))

    with pytest.raises(EmitError, match="whose module is 5"):
        byoc.compile(CHAIN, [registered("moduleless", emit=emit)], use_cache=False)


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [
        ("options", {"tile": 8}, "it must be byoc.Option by name"),
        ("layout", 7, "it must be a list of layouts by the name of an op"),
        ("peaks", 1e9, "it must be byoc.Peaks(...)"),
        ("c_flags", "-O3", "it must be a list of texts"),
    ],
)
def test_a_declaration_that_is_nonsense_is_refused_when_it_is_registered(
    attribute: str, value: object, why: str
) -> None:
    with pytest.raises(PluginLoadError, match=f'codegen "sloppy": its {attribute} is') as told:
        registered("sloppy", **{attribute: value})
    assert told.value.why == why


@pytest.mark.parametrize(
    ("hook", "returned", "what"),
    [
        ("requires", "file:/dev/npu", "requires returned 'file:/dev/npu'"),
        ("requires", 1 / 8, "requires returned 0.125"),
        ("available", None, "available returned None"),
        ("optimize", 4, "optimize returned int for partition sloppy_main_0"),
    ],
)
def test_a_hook_that_returns_nonsense_is_named(hook: str, returned: object, what: str) -> None:
    with pytest.raises(CheckError) as told:
        byoc.compile(CHAIN, [registered("sloppy", **{hook: lambda self, *_: returned})], use_cache=False)
    assert told.value.what == f'codegen "sloppy": {what}'


@pytest.mark.parametrize("hook", ["requires", "available", "optimize", "__init__"])
def test_a_hook_that_raises_is_named(hook: str) -> None:
    with pytest.raises(CheckError, match=f"{hook if hook != '__init__' else ''} raised ZeroDivisionError"):
        byoc.compile(CHAIN, [registered("sloppy", **{hook: lambda self, *_: 1 // 0})], use_cache=False)


def test_a_layout_that_no_op_has_is_refused() -> None:
    with pytest.raises(CheckError, match='codegen "sloppy": its layout cannot be had') as told:
        byoc.partition(CHAIN, [registered("sloppy", layout={"nn.relu": ("NHWC",)})])
    assert told.value.why == "TVM cannot convert relax.nn.relu to [('NHWC',)]"


def test_a_promised_symbol_that_is_not_defined_is_named() -> None:
    def emit(self: Loops, partition: object) -> CSource:
        return CSource("int unrelated(void) { return 0; }", ("wrong",))

    with pytest.raises(MissingSymbolError, match='codegen "liar" promised the symbol liar_main_0'):
        byoc.compile(CHAIN, [registered("liar", emit=emit)], use_cache=False)


def test_a_device_library_that_is_missing_is_named() -> None:
    with pytest.raises(CompilerError, match="cannot be linked"):
        byoc.compile(CHAIN, [registered("libless", libraries=["byoc_no_such_library"])], use_cache=False)


def test_a_python_prototype_runs_here_and_refuses_to_be_saved(tmp_path: Path) -> None:
    def emit(self: Loops, partition: object) -> PyFunc:
        def run(*arrays: np.ndarray) -> None:
            x, y, out = (arrays[0], arrays[1], arrays[-1])
            out[...] = np.maximum(np.exp(np.maximum(x, 0)) + y, 0)

        return PyFunc(run)

    artifact = byoc.compile(CHAIN, [registered("proto", emit=emit)])
    np.testing.assert_allclose(artifact.session().run({"x": X, "y": Y})["output"], expected(), rtol=1e-6)
    with pytest.raises(ArtifactError, match="proto"):
        artifact.save(tmp_path / "model.byoc")
    assert not list(tmp_path.iterdir())


def test_options_have_types_defaults_and_did_you_mean() -> None:
    seen = []
    target = registered(
        "optional",
        options={"tile": Option(8, "rows"), "mode": Option("fast", "how", ("fast", "exact"))},
        check=lambda self, m: seen.append(dict(m.options)),
    )
    byoc.partition(CHAIN, [target], options={target: {"tile": "16"}})
    assert seen[0] == {"tile": 16, "mode": "fast"}
    with pytest.raises(OptionError, match='did you mean "tile"'):
        byoc.partition(CHAIN, [target], options={target: {"tiel": 3}})
    with pytest.raises(OptionError, match='is "many", which is no int'):
        byoc.partition(CHAIN, [target], options={target: {"tile": "many"}})
    with pytest.raises(OptionError, match="one of fast, exact"):
        byoc.partition(CHAIN, [target], options={target: {"mode": "slow"}})


def test_an_unknown_target_is_refused_with_the_nearest_name() -> None:
    registered("loops")
    with pytest.raises(UnknownTargetError, match='there is no target "lops"') as caught:
        byoc.partition(CHAIN, ["lops"])
    assert "loops" in caught.value.why


@pytest.mark.parametrize("name", ["host", "Upper", "1st", "with-dash", ""])
def test_a_codegen_needs_a_usable_name(name: str) -> None:
    with pytest.raises(PluginLoadError, match="cannot be called"):
        register_codegen(name)(Loops)


def test_a_pattern_of_tvm_is_taken_with_its_captures() -> None:
    x = wildcard()
    pattern = byoc.tvm_pattern(is_op("relax.exp")(is_op("relax.nn.relu")(x)), x=x)
    formula = "{0}[i] > 0 ? expf({0}[i]) : 1"
    target = registered(
        "dpl",
        Codegen,
        patterns={"relu_exp": pattern},
        emit_match=lambda self, m: LOOP.format(n=m.out.size, out=m.out, formula=formula.format(m["x"])),
    )
    plan = byoc.partition(CHAIN, [target])
    assert plan.functions[0].partitions[0].ops == (0, 1)
    np.testing.assert_allclose(results(target), expected(), rtol=1e-6)


def test_passes_run_before_patterns_are_matched() -> None:
    @relax.expr_functor.mutator
    class ExpToSin(relax.PyExprMutator):
        def visit_call_(self, call: relax.Call) -> relax.Expr:
            call = super().visit_call_(call)
            return relax.op.sin(call.args[0]) if str(call.op.name) == "relax.exp" else call

    def exp_to_sin(module: object) -> object:
        for variable, function in module.functions_items():  # type: ignore[attr-defined]
            module.update_func(variable, ExpToSin().visit_expr(function))  # type: ignore[attr-defined]
        return module

    target = registered(
        "passer",
        Codegen,
        patterns={"sin": op("sin")("x")},
        passes=lambda self: [exp_to_sin],
        emit_match=lambda self, m: LOOP.format(n=m.out.size, out=m.out, formula=f"sinf({m['x']}[i])"),
    )
    plan = byoc.partition(CHAIN, [target])
    assert [(o.op, o.owner) for o in plan.functions[0].ops][1] == ("sin", "passer")


def test_a_pass_that_fails_is_named() -> None:
    def broken(module: object) -> object:
        raise RuntimeError("out of cheese")

    with pytest.raises(CheckError, match='codegen "badpass": one of its passes failed: RuntimeError: out of cheese'):
        byoc.partition(CHAIN, [registered("badpass", passes=lambda self: [broken])])


def test_optimize_may_rewrite_a_partitions_function() -> None:
    def optimize(self: Loops, function: relax.Function) -> relax.Function:
        module = relax.transform.EliminateCommonSubexpr()(
            relax.transform.Normalize()(__import__("tvm").IRModule({"f": function.with_attr("global_symbol", "f")}))
        )
        return module["f"]

    np.testing.assert_allclose(results(registered("optimizer", optimize=optimize)), expected(), rtol=1e-6)


def test_the_symbols_in_generated_code_are_the_plans() -> None:
    artifact = byoc.compile(CHAIN, [registered("loops")], use_cache=False)
    plan = byoc.Plan.from_json(artifact.plan_json)
    defined = re.findall(r"__tvm_ffi_(\w+)\(", "".join(artifact.sources.values()))
    assert set(defined) == {p.symbol for f in plan.functions for p in f.partitions}


def test_what_a_codegen_without_a_file_compiles_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a class in a notebook: it may be another one the next time, under the same name."""
    cell = types.ModuleType("cell")
    cell.__file__ = str(tmp_path / "no-such-file.py")
    monkeypatch.setitem(sys.modules, "cell", cell)
    artifact = byoc.compile(CHAIN, [registered("incell", __module__="cell")], cache_dir=tmp_path)
    assert artifact.sources and list(tmp_path.rglob("*.byoc")) == []


def test_a_constant_that_the_codegen_packs_anew_is_stored_once() -> None:
    class Doubled(Loops):
        patterns = {"add": op("add")("x", byoc.const("w"))}

        def emit_match(self, m: byoc.Match) -> str:
            double = m.constant(2 * m["w"].constant)
            return LOOP.format(n=m.out.size, out=m.out, formula=f"{m['x']}[i] + {double}[i] / 2")

    builder, weight = relax.BlockBuilder(), np.arange(2000, dtype="float32")
    x = relax.Var("x", relax.TensorType((2000,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.add(x, relax.const(weight)))
        builder.emit_func_output(result)
    artifact = byoc.compile(builder.get(), [registered("packs_anew", Doubled)], use_cache=False)
    assert [a.tolist() for a in artifact.arrays] == [(2 * weight).tolist()]
    np.testing.assert_array_equal(artifact.session().run({"x": weight})["output"], 2 * weight)
