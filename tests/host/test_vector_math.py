"""Functions that the host writes out as arithmetic: a few units in the last place, and the special values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from scipy import special
from tvm import relax

from byoc.host.pipeline import compile_host

FUNCTIONS: dict[str, tuple[Callable, Callable, float, float]] = {
    "exp": (relax.op.exp, np.exp, -104, 88.7),
    "log": (relax.op.log, np.log, 0, 1e4),
    "tanh": (relax.op.tanh, np.tanh, -10, 10),
    "erf": (relax.op.erf, special.erf, -5, 5),
    "sigmoid": (relax.op.sigmoid, special.expit, -87, 20),
}


def on_host(function: Callable, values: np.ndarray) -> np.ndarray:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(values.shape, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(function(x))
        builder.emit_func_output(y)
    machine = relax.VirtualMachine(compile_host(builder.get(), "native"), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(values)).numpy()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_is_at_most_four_units_in_the_last_place(name: str) -> None:
    function, exact, low, high = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    near_zero = rng.standard_normal(20_000) * 10.0 ** rng.uniform(-30, 0, 20_000)
    values = np.concatenate([rng.uniform(low, high, 80_000), near_zero if low < 0 else np.abs(near_zero)])
    values = values.astype("float32")
    wanted = exact(values.astype("float64"))
    unit = np.maximum(np.spacing(np.abs(wanted).astype("float32")).astype("float64"), 1.5e-45)
    error = np.abs(on_host(function, values).astype("float64") - wanted) / unit
    assert error.max() <= 4, (values[error.argmax()], error.max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_infinities_nan_and_zero_give_what_numpy_gives(name: str) -> None:
    function, exact, _, _ = FUNCTIONS[name]
    values = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-40, -1e-40, 1e38, -1e38], "float32")
    with np.errstate(all="ignore"):
        wanted = exact(values.astype("float64")).astype("float32")
    got = on_host(function, values)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-45)
    np.testing.assert_array_equal(np.signbit(got[3:5]), np.signbit(wanted[3:5]))
