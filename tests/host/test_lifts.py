"""Ops that exporters spell out are lifted to one op, in every spelling, and only if it is that op."""

from __future__ import annotations

import numpy as np
import pytest

import byoc
from byoc.errors import PinError
from tests.rewritten import assert_computes_the_same, canonical, model_of, ops_of

rng = np.random.default_rng(0)
GAMMA = rng.standard_normal(8).astype("float32")
BETA = rng.standard_normal(8).astype("float32")
X = "float[2,3,8] x"


def constants(**numbers: float) -> str:
    return "".join(f"{name} = Constant<value_float = {number!r}>() " for name, number in numbers.items())


NUMBERS = constants(
    half=0.5, one=1.0, two=2.0, three=3.0, six=6.0, sixth=1 / 6, root2=2**0.5, inverse_root2=0.5**0.5, epsilon=1e-5,
    root=0.7978845608, cubic=0.044715, zero=0.0, minus=-1.0,
)  # fmt: skip

CENTRED = "m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) s = Mul(c, c) v = ReduceMean<axes=[-1]>(s) "
SHIFTED = CENTRED + "e = Add(v, epsilon) d = Sqrt(e) "
LAYER_NORMS = {
    "divided": SHIFTED + "n = Div(c, d) g = Mul(n, gamma) y = Add(g, beta)",
    "weights first": SHIFTED + "n = Div(c, d) g = Mul(gamma, n) y = Add(beta, g)",
    "by the reciprocal": SHIFTED + "r = Reciprocal(d) n = Mul(c, r) g = Mul(n, gamma) y = Add(g, beta)",
    "by one over": SHIFTED + "r = Div(one, d) n = Mul(c, r) g = Mul(n, gamma) y = Add(g, beta)",
    "root as a power": CENTRED
    + "e = Add(v, epsilon) d = Pow(e, half) n = Div(c, d) g = Mul(n, gamma) y = Add(g, beta)",
    "square as a power": "m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) s = Pow(c, two) v = ReduceMean<axes=[-1]>(s) "
    "e = Add(v, epsilon) d = Sqrt(e) n = Div(c, d) g = Mul(n, gamma) y = Add(g, beta)",
    "differences taken twice": "m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) c2 = Sub(x, m) s = Pow(c2, two) "
    "v = ReduceMean<axes=[-1]>(s) e = Add(v, epsilon) d = Sqrt(e) n = Div(c, d) g = Mul(n, gamma) y = Add(g, beta)",
    "scale and shift, as TensorFlow": SHIFTED
    + "r = Reciprocal(d) f = Mul(r, gamma) a = Mul(x, f) mf = Mul(m, f) b = Sub(beta, mf) y = Add(a, b)",
    "without a shift": SHIFTED + "n = Div(c, d) y = Mul(n, gamma)",
    "without weights": SHIFTED + "y = Div(c, d)",
}


@pytest.mark.parametrize("body", LAYER_NORMS.values(), ids=LAYER_NORMS)
def test_layer_norm(body: str) -> None:
    model = model_of(X, "float[2,3,8] y", NUMBERS + body, {"gamma": GAMMA, "beta": BETA})
    assert ops_of(model) == {"nn.layer_norm": 1}
    assert_computes_the_same(model)


def test_layer_norm_over_two_axes_takes_weights_that_are_spread() -> None:
    body = NUMBERS + LAYER_NORMS["divided"].replace("axes=[-1]", "axes=[-2,-1]")
    model = model_of(X, "float[2,3,8] y", body, {"gamma": GAMMA, "beta": BETA})
    assert ops_of(model) == {"nn.layer_norm": 1}
    assert canonical(model).nodes[0].inputs[1].shape == (3, 8)
    assert_computes_the_same(model)


NOT_LAYER_NORMS = {
    "another exponent": LAYER_NORMS["square as a power"].replace("two)", "three)"),
    "another axis": LAYER_NORMS["divided"].replace("axes=[-1]", "axes=[1]"),
    "two different axes": LAYER_NORMS["divided"].replace("v = ReduceMean<axes=[-1]>", "v = ReduceMean<axes=[1]>"),
    "a negative epsilon": LAYER_NORMS["divided"].replace("Add(v, epsilon)", "Add(v, minus)"),
}


@pytest.mark.parametrize("body", NOT_LAYER_NORMS.values(), ids=NOT_LAYER_NORMS)
def test_what_only_looks_like_layer_norm_stays(body: str) -> None:
    model = model_of(X, "float[2,3,8] y", NUMBERS + body, {"gamma": GAMMA, "beta": BETA})
    assert "nn.layer_norm" not in ops_of(model)


def test_a_group_stays_where_a_value_inside_it_is_an_output_too() -> None:
    body = NUMBERS + LAYER_NORMS["divided"]
    model = model_of(X, "float[2,3,8] y, float[2,3,1] v", body, {"gamma": GAMMA, "beta": BETA})
    assert "nn.layer_norm" not in ops_of(model)


RMS_NORMS = {
    "divided": "s = Pow(x, two) v = ReduceMean<axes=[-1]>(s) e = Add(v, epsilon) d = Sqrt(e) n = Div(x, d) "
    "y = Mul(n, gamma)",
    "by the reciprocal, weight first": "s = Mul(x, x) v = ReduceMean<axes=[-1]>(s) e = Add(epsilon, v) d = Sqrt(e) "
    "r = Reciprocal(d) n = Mul(x, r) y = Mul(gamma, n)",
}


@pytest.mark.parametrize("body", RMS_NORMS.values(), ids=RMS_NORMS)
def test_rms_norm(body: str) -> None:
    model = model_of(X, "float[2,3,8] y", NUMBERS + body, {"gamma": GAMMA})
    assert ops_of(model) == {"nn.rms_norm": 1}
    assert_computes_the_same(model)


BELL = "a = Div(x, root2) b = Erf(a) e = Add(b, one) "
GELUS = {
    "PyTorch": BELL + "p = Mul(x, e) y = Mul(p, half)",
    "half first": BELL + "h = Mul(x, half) y = Mul(h, e)",
    "half of the bell": BELL + "h = Mul(e, half) y = Mul(h, x)",
    "divided by two": BELL + "p = Mul(x, e) y = Div(p, two)",
    "by the inverse root": "a = Mul(x, inverse_root2) b = Erf(a) e = Add(one, b) p = Mul(x, e) y = Mul(half, p)",
}
POLYNOMIAL = "k = Mul(q, cubic) l = Add(x, k) u = Mul(l, root) t = Tanh(u) e = Add(t, one) "
TANH_GELUS = {
    "cube as a power": "q = Pow(x, three) " + POLYNOMIAL + "p = Mul(x, e) y = Mul(p, half)",
    "cube as products": "w = Mul(x, x) q = Mul(x, w) " + POLYNOMIAL + "h = Mul(x, half) y = Mul(h, e)",
    "factored": "w = Mul(x, x) k = Mul(w, cubic) l = Add(k, one) z = Mul(x, root) u = Mul(z, l) t = Tanh(u) "
    "e = Add(one, t) p = Mul(e, half) y = Mul(x, p)",
}


@pytest.mark.parametrize("body", GELUS.values(), ids=GELUS)
def test_gelu(body: str) -> None:
    assert ops_of(model_of(X, "float[2,3,8] y", NUMBERS + body)) == {"nn.gelu": 1}


@pytest.mark.parametrize("body", TANH_GELUS.values(), ids=TANH_GELUS)
def test_gelu_by_tanh(body: str) -> None:
    assert ops_of(model_of(X, "float[2,3,8] y", NUMBERS + body)) == {"nn.gelu_tanh": 1}


def test_gelu_with_other_numbers_stays() -> None:
    wrong = constants(root2=1.5) + NUMBERS.replace("root2 =", "ignored =", 1) + GELUS["PyTorch"]
    assert "nn.gelu" not in ops_of(model_of(X, "float[2,3,8] y", wrong))


ACTIVATIONS = {
    "nn.silu": "s = Sigmoid(x) y = Mul(x, s)",
    "clip": "a = Max(x, minus) y = Min(a, six)",
    "nn.relu": "y = Max(x, zero)",
    "nn.softmax": "m = ReduceMax<axes=[-1]>(x) d = Sub(x, m) e = Exp(d) t = ReduceSum(e, last) y = Div(e, t)",
    "nn.log_softmax": "m = ReduceMax<axes=[-1]>(x) d = Sub(x, m) e = Exp(d) t = ReduceSum(e, last) l = Log(t) "
    "y = Sub(d, l)",
}


@pytest.mark.parametrize(("name", "body"), ACTIVATIONS.items(), ids=ACTIVATIONS)
def test_activations(name: str, body: str) -> None:
    model = model_of(X, "float[2,3,8] y", NUMBERS + body, {"last": np.array([-1])})
    assert ops_of(model) == {name: 1}


HARD_SWISHES = {
    "gate divided": "a = Add(x, three) g = Clip(a, zero, six) d = Div(g, six) y = Mul(x, d)",
    "gate scaled": "a = Add(x, three) g = Clip(a, zero, six) d = Mul(g, sixth) y = Mul(d, x)",
    "product scaled": "a = Add(x, three) g = Clip(a, zero, six) d = Mul(x, g) y = Mul(d, sixth)",
    "gate of minimum and maximum": "a = Add(x, three) b = Max(a, zero) g = Min(b, six) d = Div(g, six) y = Mul(x, d)",
    "HardSigmoid": "s = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, s)",
}


@pytest.mark.parametrize("body", HARD_SWISHES.values(), ids=HARD_SWISHES)
def test_every_hard_swish_ends_like_that_of_onnx(body: str) -> None:
    wanted = [node.op for node in canonical(model_of(X, "float[2,3,8] y", "y = HardSwish(x)")).nodes]
    model = model_of(X, "float[2,3,8] y", NUMBERS + body)
    assert [node.op for node in canonical(model).nodes] == wanted == ["add", "clip", "multiply", "divide"]


def test_lifted_activations_compute_the_same() -> None:
    bodies = {**GELUS, **TANH_GELUS, **ACTIVATIONS, **HARD_SWISHES}
    parts = []
    for index, body in enumerate(bodies.values()):
        nodes = model_of(X, "float[2,3,8] y", body).graph.node
        for node in nodes:
            inner = {name for other in nodes for name in other.output}
            inputs = ", ".join(f"{name}_{index}" if name in inner else name for name in node.input)
            attributes = ", ".join(_attribute(a) for a in node.attribute)
            parts.append(f"{node.output[0]}_{index} = {node.op_type}<{attributes}>({inputs})".replace("<>", ""))
    outputs = ", ".join(f"float[2,3,8] y_{index}" for index in range(len(bodies)))
    assert_computes_the_same(model_of(X, outputs, NUMBERS + " ".join(parts), {"last": np.array([-1])}))


def _attribute(attribute: object) -> str:
    value = list(attribute.ints) or attribute.f  # type: ignore[attr-defined]
    return f"{attribute.name} = {value}"  # type: ignore[attr-defined]


def test_a_lifted_op_is_pinned_by_any_node_that_it_absorbed() -> None:
    model = model_of(X, "float[2,3,8] y", NUMBERS + GELUS["PyTorch"])
    (node,) = canonical(model).nodes
    assert node.op_type == "Mul"
    assert {op_type for _, op_type in node.absorbed} == {"Div", "Erf", "Add", "Mul"}
    plan = byoc.partition(model, ["null"], pins=["op:Erf=host"])
    assert plan.functions[0].ops[0].owner == "host"
    with pytest.raises(PinError, match="matches no op"):
        byoc.partition(model, ["null"], pins=["op:Tanh=host"])
