"""A small file that stands for something huge is refused at once, with the limit that it meets and how to raise it."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from byoc.errors import ByocError, LimitError, UnsupportedModelError, UsageError
from byoc.importer import import_model

HUGE = 2**40
IMAGE = [1, 1, 8, 8]


def model(
    *nodes: onnx.NodeProto,
    shape: list[int | str] | None = None,
    weights: dict[str, np.ndarray] | None = None,
    functions: tuple[onnx.FunctionProto, ...] = (),
    opset: int = 19,
) -> onnx.ModelProto:
    """A model from ``x`` to ``y``."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4] if shape is None else shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)


def node(operator: str, inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    names = ["" if name == "_" else name for name in inputs.split()]
    domain = "local" if operator.islower() else ""
    return helper.make_node(operator, names, [output], name=output, domain=domain, **attributes)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.fixture(autouse=True)
def _little_memory_and_time() -> Iterator[None]:
    """Two GiB more than the process has now, and half a minute."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (2 << 30), hard))
    before = signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _out_of_time(*_: object) -> None:
    raise AssertionError("the import takes too long")


def body(nodes: list[onnx.NodeProto], inputs: dict[str, int], outputs: dict[str, int]) -> onnx.GraphProto:
    def infos(types: dict[str, int]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]

    return helper.make_graph(nodes, "body", infos(inputs), infos(outputs))


def endless() -> onnx.GraphProto:
    kinds = {"turn": TensorProto.INT64, "more": TensorProto.BOOL, "v": TensorProto.FLOAT}
    nodes = [node("Add", "v v", "w"), node("Identity", "more", "again")]
    return body(nodes, kinds, {"again": TensorProto.BOOL, "w": TensorProto.FLOAT})


def calling(count: int, times: int) -> tuple[onnx.FunctionProto, ...]:
    """Functions f, fg, fgg... that each call the one before so many times."""
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("local", 1)]
    functions = [helper.make_function("local", "f", ["v0"], ["v1"], [node("Relu", "v0", "v1")], opsets)]
    for index in range(count):
        inner = "f" + "g" * index
        nodes = [node(inner, f"v{i}", f"v{i + 1}") for i in range(times)]
        functions.append(helper.make_function("local", inner + "g", ["v0"], [f"v{times}"], nodes, opsets))
    return tuple(functions)


BEYOND: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "an input": ("tensor_gib", lambda: model(node("Relu", "x"), shape=[HUGE])),
    "padding": ("tensor_gib", lambda: model(node("Pad", "x p"), weights={"p": i64(0, HUGE, 0, 0)})),
    "a constant": ("tensor_gib", lambda: model(node("ConstantOfShape", "s"), weights={"s": i64(2**50)})),
    "extents whose product wraps": (
        "tensor_gib", lambda: model(node("ConstantOfShape", "s"), weights={"s": i64(2**32, 2**32)})
    ),
    "repeats": ("tensor_gib", lambda: model(node("Tile", "x r"), weights={"r": i64(10**9, 10**9)})),
    "repeats of a symbolic extent": (
        "tensor_gib", lambda: model(node("Tile", "x r"), shape=["N", 4], weights={"r": i64(2**61, 1)})
    ),
    "a resize": (
        "tensor_gib",
        lambda: model(node("Resize", "x _ s"), shape=IMAGE, weights={"s": np.array([1, 1, 1e9, 1e9], np.float32)}),
    ),
    "windows in padding": (
        "tensor_gib", lambda: model(node("MaxPool", "x", kernel_shape=[10**9] * 2, pads=[10**9] * 4), shape=IMAGE)
    ),
    "doubled again and again": (
        "tensor_gib",
        lambda: model(
            *(node("Concat", f"{'x' if i == 0 else f't{i}'} " * 2, f"t{i + 1}", axis=0) for i in range(40)),
            node("Relu", "t40"),
        ),
    ),
    "positions of a one-hot": (
        "table_gib",
        lambda: model(node("Cast", "x", "i", to=TensorProto.INT64), node("OneHot", "i d v"),
                      weights={"d": np.array(10**12), "v": np.array([0.0, 1.0])}),
    ),
    "what windows cover": (
        "table_gib",
        lambda: model(node("AveragePool", "x", kernel_shape=[2**20, 2], pads=[2**20, 0, 2**20, 0], strides=[3, 3],
                           count_include_pad=1, ceil_mode=1), shape=IMAGE),
    ),
    "many folded constants": (
        "folded_gib",
        lambda: model(
            *(node("ConstantOfShape", "s", f"t{i}") for i in range(3000)),
            node("Sum", " ".join(f"t{i}" for i in range(3000))), weights={"s": i64(2**18)},
        ),
    ),
    "turns of a loop": ("nodes", lambda: model(node("Loop", "m _ x", body=endless()), weights={"m": np.array(10**12)})),
    "a loop without end": (
        "nodes", lambda: model(node("Loop", "_ c x", body=endless()), weights={"c": np.array(True)})
    ),
    "functions that double": ("nodes", lambda: model(node("f" + "g" * 28, "x"), functions=calling(28, 2))),
    "functions in functions": ("depth", lambda: model(node("f" + "g" * 40, "x"), functions=calling(40, 1))),
    "the formula of an extent": (
        "terms",
        lambda: model(
            node("Shape", "x", "s"), node("Gather", "s zero", "b0"),
            *(made for i in range(50) for made in (node("Mul", f"b{i} b{i}", f"m{i}"),
                                                   node("Add", f"m{i} b{i}", f"b{i + 1}"))),
            node("ConstantOfShape", "b50"), shape=["N", 4], weights={"zero": i64(0)},
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BEYOND)
def test_what_would_grow_beyond_a_limit_is_refused_with_the_limit_and_how_to_raise_it(case: str) -> None:
    name, make = BEYOND[case]
    with pytest.raises(LimitError) as caught:
        import_model(make())
    assert caught.value.why.startswith(f"the limit {name} is ")
    assert caught.value.todo == f"if the model is meant to be so large, set BYOC_LIMITS={name}=N in the environment."


def test_the_error_names_the_node_and_how_much_it_takes() -> None:
    with pytest.raises(LimitError) as caught:
        import_model(BEYOND["padding"][1]())
    assert str(caught.value) == (
        '[BYOC-205] node "y" (Pad) cannot be imported: one of its results takes 8.19e+03 GiB\n'
        "  why: the limit tensor_gib is 16 GiB: byoc does not let a file use up the machine\n"
        "  do:  if the model is meant to be so large, set BYOC_LIMITS=tensor_gib=N in the environment."
    )


def test_a_raised_limit_lets_the_model_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYOC_LIMITS", "nodes=100,depth=40")
    loop = model(node("Loop", "m _ x", body=endless()), weights={"m": np.array(40)})
    with pytest.raises(LimitError, match="more than 100 nodes"):
        import_model(loop)
    monkeypatch.setenv("BYOC_LIMITS", "nodes=200,depth=40")
    assert [output.shape for output in import_model(loop).outputs] == [(2, 4)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("memory=3", 'BYOC_LIMITS names a limit "memory"'),
        ("nodes=many", 'BYOC_LIMITS sets nodes to "many"'),
        ("nodes=0", 'BYOC_LIMITS sets nodes to "0"'),
    ],
)
def test_a_malformed_limit_is_a_mistake_of_the_caller(monkeypatch: pytest.MonkeyPatch, text: str, what: str) -> None:
    monkeypatch.setenv("BYOC_LIMITS", text)
    with pytest.raises(UsageError) as caught:
        import_model(model(node("Relu", "x")))
    assert caught.value.what == what


ABSURD: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "strides": (
        f"its strides [{HUGE}, {HUGE}] must be below 2**31",
        lambda: model(node("MaxPool", "x", kernel_shape=[2, 2], strides=[HUGE] * 2), shape=IMAGE),
    ),
    "padding below nothing": (
        "one of its results has a negative extent: [T.int64(-8), T.int64(4)]",
        lambda: model(node("ConstantOfShape", "s"), weights={"s": i64(-8, 4)}),
    ),
    "a scale that is no number": (
        "its scales [1.0, 1.0, nan, 1.0] are not one positive number for each of 4 axes",
        lambda: model(node("Resize", "x _ s"), shape=IMAGE, weights={"s": np.array([1, 1, np.nan, 1], np.float32)}),
    ),
    "more parts than outputs": (
        f"its num_outputs is {HUGE}, and it has 1 outputs", lambda: model(node("Split", "x", num_outputs=HUGE))
    ),
    "dimensions": (
        "one of its results has 3001 dimensions; NumPy takes 64 at most",
        lambda: model(node("Reshape", "x s"), weights={"s": i64(*[1] * 3000, -1)}),
    ),
    "blocks of nothing": (
        "its blocksize 0 must be positive", lambda: model(node("SpaceToDepth", "x", blocksize=0), shape=IMAGE)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ABSURD)
def test_an_absurd_number_is_refused_in_plain_words(case: str) -> None:
    why, make = ABSURD[case]
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(make())
    assert caught.value.why == why


def test_a_function_that_calls_itself_is_named_with_the_way_back_to_it() -> None:
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("local", 1)]
    functions = tuple(
        helper.make_function("local", name, ["a"], ["b"], [node(other, "a", "b")], opsets)
        for name, other in (("f", "g"), ("g", "f"))
    )
    with pytest.raises(ByocError) as caught:
        import_model(model(node("f", "x"), functions=functions))
    assert str(caught.value) == (
        "[BYOC-203] the function local.f calls itself\n"
        "  why: local.f -> local.g -> local.f\n"
        "  do:  export the model without recursive functions."
    )
