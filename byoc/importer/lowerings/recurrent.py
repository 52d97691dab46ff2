"""RNN, GRU and LSTM over sequences of a length known at import: one product for all steps' inputs, then step by step.

Gates and formulas are those of the ONNX operators' own documentation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Dim, Value, constant

op = relax.op
Expr: TypeAlias = Any
Activation: TypeAlias = Callable[[Expr], Expr]
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_NODES_OF_A_STEP = 10
_USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
# Activations with their default alpha and beta; None: has no such parameter.
_ACTIVATIONS: dict[str, tuple[Callable[[Any, Expr, Any, Any], Expr], float | None, float | None]] = {
    "Tanh": (lambda c, x, a, b: op.tanh(x), None, None),
    "Sigmoid": (lambda c, x, a, b: op.sigmoid(x), None, None),
    "Relu": (lambda c, x, a, b: op.nn.relu(x), None, None),
    "Softsign": (lambda c, x, a, b: op.divide(x, op.add(c(1.0), op.abs(x))), None, None),
    "Softplus": (lambda c, x, a, b: op.nn.softplus(x), None, None),
    "Affine": (lambda c, x, a, b: op.add(op.multiply(c(a), x), c(b)), 1.0, 0.0),
    "ScaledTanh": (lambda c, x, a, b: op.multiply(c(a), op.tanh(op.multiply(c(b), x))), 1.0, 1.0),
    "HardSigmoid": (
        lambda c, x, a, b: op.minimum(op.maximum(op.add(op.multiply(c(a), x), c(b)), c(0.0)), c(1.0)), 0.2, 0.5
    ),
    "LeakyRelu": (lambda c, x, a, b: op.nn.leakyrelu(x, a), 0.01, None),
    "ThresholdedRelu": (lambda c, x, a, b: op.where(op.greater(x, c(a)), x, c(0.0)), 1.0, None),
    "Elu": (lambda c, x, a, b: op.where(op.less(x, c(0.0)), op.multiply(c(a), op.subtract(op.exp(x), c(1.0))), x),
            1.0, None),
}  # fmt: skip


@dataclass(frozen=True)
class _Cell:
    """One direction's weights, all of them transposed for products from the left, and its functions."""

    view: NodeView
    kind: str
    hidden: int
    recurrent: list[Expr]  # per gate, [hidden, hidden]
    recurrent_bias: list[Expr] | None  # per gate, [hidden]; only where it is not merged into the inputs'
    peepholes: list[Expr] | None
    functions: list[Activation]
    clip: float | None

    def step(self, inputs: list[Expr], h: Expr, c: Expr | None) -> tuple[Expr, Expr | None]:
        """The states after one step; ``inputs``: per gate, what the step's input and the biases come to."""
        if self.kind == "LSTM":
            return self._lstm(inputs, h, c)
        return (self._gru(inputs, h) if self.kind == "GRU" else self._through(0, self._with(inputs, h, 0))), None

    def _with(self, inputs: list[Expr], h: Expr, gate: int) -> Expr:
        return self._emit(op.add(inputs[gate], self._emit(op.matmul(h, self.recurrent[gate]))))

    def _emit(self, value: Expr) -> Expr:
        return self.view.emit(value)

    def _through(self, function: int, x: Expr) -> Expr:
        if self.clip is not None:
            low, high = (relax.const(s * self.clip, self.view.dtype(0)) for s in (-1.0, 1.0))
            x = self._emit(op.minimum(op.maximum(x, low), high))
        return self._emit(self.functions[function](x))

    def _gru(self, inputs: list[Expr], h: Expr) -> Expr:
        update, reset = (self._through(0, self._with(inputs, h, gate)) for gate in (0, 1))
        if self.recurrent_bias is None:
            inner = op.matmul(self._emit(op.multiply(reset, h)), self.recurrent[2])
        else:  # linear_before_reset
            inner = op.multiply(reset, op.add(op.matmul(h, self.recurrent[2]), self.recurrent_bias[2]))
        new = self._through(1, self._emit(op.add(inputs[2], self._emit(inner))))
        one = relax.const(1.0, self.view.dtype(0))
        return self._emit(op.add(op.multiply(op.subtract(one, update), new), op.multiply(update, h)))

    def _lstm(self, inputs: list[Expr], h: Expr, c: Expr) -> tuple[Expr, Expr]:
        entered, left, forgotten, new = (self._with(inputs, h, gate) for gate in range(4))
        if self.peepholes:
            entered = self._emit(op.add(entered, op.multiply(self.peepholes[0], c)))
            forgotten = self._emit(op.add(forgotten, op.multiply(self.peepholes[2], c)))
        entered = self._through(0, entered)
        if self.view.attribute("input_forget", 0):
            forgotten = self._emit(op.subtract(relax.const(1.0, self.view.dtype(0)), entered))
        else:
            forgotten = self._through(0, forgotten)
        kept = op.add(op.multiply(forgotten, c), op.multiply(entered, self._through(1, new)))
        cell = self._emit(kept)
        if self.peepholes:
            left = self._emit(op.add(left, op.multiply(self.peepholes[1], cell)))
        return self._emit(op.multiply(self._through(0, left), self._emit(self.functions[2](cell)))), cell


@lowers("RNN", "GRU", "LSTM")
def _recurrent(view: NodeView) -> Results:
    """X, W, R, B, sequence_lens, initial_h, then for LSTM initial_c and P."""
    kind, batch_first = view.node.proto.op_type, bool(view.attribute("layout", 0))
    direction = view.attribute("direction", "forward")
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(direction)
    if backwards is None:
        view.refuse(f'its direction is "{direction}"')
    x = op.permute_dims(view.tensor(0), [1, 0, 2]) if batch_first else view.tensor(0)
    steps, batch, width = view.shape_of(view.emit(x))
    if not isinstance(steps, int) or steps < 1:
        view.refuse(f"its sequences have the length {steps}; the importer unrolls it")
    nodes = steps * len(backwards) * _NODES_OF_A_STEP
    view.builder.budget.nodes(nodes, f"the importer unrolls its {steps} steps, and they come to")
    alive = _alive(view, steps)
    results = []
    for place, back in enumerate(backwards):
        cell = _cell(view, kind, place, len(backwards))
        states = [_initial(view, index, place, batch, cell.hidden, batch_first) for index in (5, 6)]
        inputs = _inputs(view, view.emit(x), kind, place, [steps, batch, width], cell)
        results.append(_walk(view, cell, inputs, states, alive, back))
    order, joined = [range(2), range(len(backwards))], []
    for part in range(3 if kind == "LSTM" else 2):
        axis = 1 if part == 0 else 0
        parts = [view.emit(op.expand_dims(results[place][part], axis)) for place in order[1]]
        whole = view.emit(op.concat(parts, axis)) if len(parts) > 1 else parts[0]
        if batch_first:  # Y [batch, steps, directions, hidden], Y_h [batch, directions, hidden]
            whole = view.emit(op.permute_dims(whole, [2, 0, 1, 3] if part == 0 else [1, 0, 2]))
        joined.append(whole)
    return joined


def _alive(view: NodeView, steps: int) -> list[Expr] | None:
    """Per step, whether each sequence of the batch [batch, 1] still goes on; None: all of them do."""
    lengths = view.known(4)
    if not view.has(4) or (lengths is not None and (lengths >= steps).all()):
        return None
    column = view.emit(op.expand_dims(view.tensor(4), 1))
    dtype = view.dtype(4)
    return [view.emit(op.less(relax.const(step, dtype), column)) for step in range(steps)]


def _part(view: NodeView, index: int, place: int) -> Value:
    """Direction ``place`` of input ``index``."""
    known = view.known(index)
    if known is not None:
        return constant(known[place])
    cut = op.strided_slice(view.tensor(index), [0], [place], [place + 1])
    return view.emit(op.squeeze(view.emit(cut), [0]))


def _gate_parts(view: NodeView, value: Expr, count: int) -> list[Expr]:
    """``value`` cut along its first axis."""
    if count == 1:
        return [value]
    parts = view.emit(op.split(value, count, 0))
    return [view.emit(relax.TupleGetItem(parts, index)) for index in range(count)]


def _cell(view: NodeView, kind: str, place: int, directions: int) -> _Cell:
    gates, weight = _GATES[kind], _part(view, 2, place)
    hidden = view.shape(2)[2]
    if not isinstance(hidden, int) or view.attribute("hidden_size", hidden) != hidden:
        view.refuse(f"its hidden_size does not fit its recurrence weights of shape {view.shape(2)}")
    recurrent = [view.emit(op.permute_dims(part)) for part in _gate_parts(view, weight, gates)]
    bias = None
    if kind == "GRU" and view.attribute("linear_before_reset", 0):
        bias = [relax.const(np.zeros(hidden), view.dtype(0))] * gates
        if view.has(3):
            bias = _gate_parts(view, _part(view, 3, place), 2 * gates)[gates:]
    peepholes = None
    if kind == "LSTM" and view.has(7):
        peepholes = _gate_parts(view, _part(view, 7, place), 3)
    clip = view.attribute("clip", None)
    return _Cell(view, kind, hidden, recurrent, bias, peepholes, _functions(view, kind, place, directions), clip)


def _functions(view: NodeView, kind: str, place: int, directions: int) -> list[Activation]:
    names = view.attribute("activations") or _USUAL[kind] * directions
    alphas, betas = (list(view.attribute(f"activation_{name}") or []) for name in ("alpha", "beta"))
    count = len(_USUAL[kind])
    if kind == "RNN" and len(names) > directions:
        names = names[:directions]  # its default is for two directions
    if len(names) != count * directions:
        view.refuse(f"its activations {names} are not {count} for each of {directions} directions")
    functions: list[Activation] = []
    for name in names:
        known = {n.lower(): entry for n, entry in _ACTIVATIONS.items()}.get(name.lower())
        if known is None:
            view.refuse(f'its activation "{name}" is unknown')
        compute, alpha, beta = known
        alpha = alphas.pop(0) if alpha is not None and alphas else alpha
        beta = betas.pop(0) if beta is not None and betas else beta
        scalar = functools.partial(relax.const, dtype=view.dtype(0))
        functions.append(functools.partial(_activate, compute, scalar, alpha, beta))
    return functions[place * count : (place + 1) * count]


def _activate(compute: Callable[..., Expr], scalar: Any, alpha: Any, beta: Any, x: Expr) -> Expr:
    return compute(scalar, x, alpha, beta)


def _initial(view: NodeView, index: int, place: int, batch: Dim, hidden: int, batch_first: bool) -> Expr:
    if not view.has(index):
        return view.emit(op.zeros(shape_expr([batch, hidden]), view.dtype(0)))
    axis = 1 if batch_first else 0
    cut = view.emit(op.strided_slice(view.tensor(index), [axis], [place], [place + 1]))
    return view.emit(op.squeeze(cut, [axis]))


def _inputs(view: NodeView, x: Expr, kind: str, place: int, dims: list[Dim], cell: _Cell) -> list[list[Expr]]:
    """Per step and gate, the product with the input and the biases."""
    gates = _GATES[kind]
    steps, batch, width = dims
    flat = view.emit(op.reshape(x, shape_expr([view.extents.product([steps, batch]), width])))
    biases: list[Expr | None] = [None] * gates
    if view.has(3):
        both = _gate_parts(view, _part(view, 3, place), 2 * gates)
        for gate in range(gates):
            own = cell.recurrent_bias is not None and gate == 2
            biases[gate] = both[gate] if own else view.emit(op.add(both[gate], both[gates + gate]))
    per_gate = []
    for gate, weight in enumerate(_gate_parts(view, _part(view, 1, place), gates)):
        product = view.emit(op.matmul(flat, view.emit(op.permute_dims(weight))))
        if biases[gate] is not None:
            product = view.emit(op.add(product, biases[gate]))
        product = view.emit(op.reshape(product, shape_expr([steps, batch, cell.hidden])))
        per_gate.append([_at(view, product, step) for step in range(int(steps))])
    return [list(gate_inputs) for gate_inputs in zip(*per_gate, strict=True)]


def _at(view: NodeView, value: Expr, step: int) -> Expr:
    return view.emit(op.squeeze(view.emit(op.strided_slice(value, [0], [step], [step + 1])), [0]))


def _walk(
    view: NodeView, cell: _Cell, inputs: list[list[Expr]], states: list[Expr], alive: list[Expr] | None, back: bool
) -> list[Expr]:
    """All outputs [steps, batch, hidden], and the last states; a sequence that is over keeps its state and gives 0."""
    h, c = states
    outputs: list[Expr] = [None] * len(inputs)
    for step in reversed(range(len(inputs))) if back else range(len(inputs)):
        new, cell_state = cell.step(inputs[step], h, c)
        outputs[step] = new
        if alive is not None:
            outputs[step] = view.emit(op.where(alive[step], new, relax.const(0, view.dtype(0))))
            new = view.emit(op.where(alive[step], new, h))
            cell_state = None if cell_state is None else view.emit(op.where(alive[step], cell_state, c))
        h, c = new, cell_state if cell_state is not None else c
    rows = [view.emit(op.expand_dims(output, 0)) for output in outputs]
    whole = view.emit(op.concat(rows, 0)) if len(rows) > 1 else rows[0]
    return [whole, h, c]
