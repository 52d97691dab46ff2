"""The table of cases: each has a definition in numpy that agrees with TVM, and csource passes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tvm
from byoc_codegens.csource.codegen import CSourceCodegen
from tvm import relax

from byoc.conformance.build import expected, inputs_of, module_of
from byoc.conformance.cases import op_cases
from byoc.conformance.compare import disagreement
from byoc.conformance.fill import fill
from byoc.conformance.oracle import definitions
from byoc.conformance.pattern_cases import pattern_cases
from byoc.partitioner.target import find_targets
from byoc.patterns import as_pattern

# What byoc folds into a constant, or makes of shapes, leaves nothing to examine.
NOT_COMPUTED = {"zeros", "ones", "zeros_like", "ones_like", "full", "full_like", "arange", "shape_to_tensor"}


def test_every_op_that_csource_takes_has_a_case_and_a_definition() -> None:
    single = {op.op_name for p in CSourceCodegen.patterns.values() for op in as_pattern(p).ops()}
    computed = single - NOT_COMPUTED
    assert computed - set(definitions()) == set()
    subjects = {step.op for case in op_cases() for step in case.steps}
    assert computed - subjects == set()


def test_every_definition_computes_what_its_cases_ask_for() -> None:
    for case in op_cases():
        states = {state.name: fill(state, {}) for state in case.states}
        for sizes in case.sizes:
            wanted = expected(case, inputs_of(case, sizes), states)
            assert len(wanted.arrays) == len(case.returned)
            states = dict(wanted.states)
            assert list(states) == [state.name for state in case.states]


def test_each_pattern_of_several_ops_gives_cases() -> None:
    target = find_targets(["csource"])[0]
    made = {case.subject for case in pattern_cases(target)}
    assert {"conv_add_activation", "matmul_add_activation", "conv_add_add", "matmul_transposed_add"} <= made


@pytest.mark.parametrize("op", ["nn.conv2d", "nn.avg_pool2d", "nn.layer_norm", "nn.gelu_tanh", "mean", "matmul"])
def test_the_oracle_agrees_with_tvms_host(op: str) -> None:
    """The ops that are hardest to define."""
    cases = [c for c in op_cases() if c.subject == op and c.sizes == ({},) and "special" not in c.name][:4]
    assert cases
    for case in cases:
        module = relax.get_pipeline("zero")(module_of(case))
        machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
        arrays = inputs_of(case, {})
        got = machine["main"](*(tvm.runtime.tensor(a) for a in arrays.values())).numpy()
        wanted = expected(case, arrays)
        dtype = str(got.dtype)
        if "float16" not in case.name and "NaN" not in case.name:
            assert disagreement(got, np.asarray(wanted.arrays[0]), dtype, wanted.tolerance(dtype)) == "", case.name


def test_the_same_seed_gives_the_same_values() -> None:
    case = op_cases()[0]
    first, again, other = (inputs_of(case, case.sizes[0], seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in first)
    assert not all(np.array_equal(first[name], other[name], equal_nan=True) for name in first)


def test_the_pytest_plugin_makes_one_test_of_each_case(tmp_path) -> None:
    (tmp_path / "test_mine.py").write_text(
        'import pytest\n\n@pytest.mark.conformance("csource", wanted="nn.pad/")\n'
        "def test_conformance(conformance_case):\n    assert conformance_case.subject == 'nn.pad'\n"
    )
    command = [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "test_conformance[nn.pad/constant] PASSED" in ran.stdout, ran.stdout + ran.stderr
    assert "test_conformance[nn.pad/edge]" in ran.stdout
    assert ran.returncode == 0


@pytest.mark.slow
def test_csource_conforms() -> None:
    command = [sys.executable, "-m", "byoc", "conformance", "--target", "csource"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-6000:]
