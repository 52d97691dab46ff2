"""The program that a partition becomes: tensors, and ops on them; `runtime/program.h` is its reader."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from byoc import Dim

Shape = tuple["int | Dim", ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the program; `constant` where its value is known."""

    dtype: str
    shape: Shape
    constant: np.ndarray | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_scalar(self) -> bool:
        """Whether it is one number that is known when the model is compiled."""
        return self.constant is not None and self.constant.size == 1

    @property
    def scalar(self) -> float:
        assert self.constant is not None
        return float(self.constant.reshape(-1)[0])


@dataclass(frozen=True)
class PostOp:
    """What is applied to an op's result before it is stored.

    `kind` is ``"eltwise"`` (`algorithm` of `alpha` and `beta`), ``"binary"`` (`algorithm` with `input`), or ``"sum"``
    (`alpha` times `input` less `beta`, of the result's shape, is added; its memory may become the result's).
    """

    kind: str
    algorithm: str = ""
    alpha: float = 0.0
    beta: float = 0.0
    input: Tensor | None = None


@dataclass(frozen=True)
class Op:
    """One op: a primitive with its post-ops, or a movement of elements.

    `numbers` and `scalars` are its parameters; shapes are those of its tensors.  `scales` are factors of integer
    operands, for the whole tensor or each channel of the result, and zero points: by the names ``"source"``,
    ``"other"`` (second operand of a sum), ``"weights"``, ``"zero"`` (of the source) and ``"result zero"``.
    """

    kind: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    algorithm: str = ""
    numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    scalars: Mapping[str, float] = field(default_factory=dict)
    post_ops: tuple[PostOp, ...] = ()
    name: str = ""
    scales: Mapping[str, Tensor] = field(default_factory=dict)

    def with_post_op(self, post_op: PostOp, output: Tensor) -> Op:
        return replace(self, post_ops=(*self.post_ops, post_op), output=output)

    def reads(self) -> tuple[Tensor, ...]:
        """Every tensor that it needs."""
        return (*self.inputs, *self.scales.values(), *(p.input for p in self.post_ops if p.input is not None))


@dataclass(frozen=True)
class Program:
    """The ops of a partition in an order in which they can run.

    `precision` is the type in which float32 tensors are kept between ops: ``"f32"`` or ``"bf16"``; `winograd` lets
    convolutions be computed by Winograd's filtering where it pays.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    precision: str = "f32"
    winograd: bool = True

    def constants(self) -> tuple[Tensor, ...]:
        """The constants that ops read, each once, in the order in which the runtime takes them."""
        read = [t for op in self.ops for t in op.reads() if t.constant is not None]
        return tuple({id(t): t for t in [*read, *(t for t in self.outputs if t.constant is not None)]}.values())

    def extents(self) -> tuple[str, ...]:
        """C expressions of the sizes that a run must give."""
        tensors = [*self.inputs, *self.outputs, *(t for op in self.ops for t in (*op.reads(), op.output))]
        found = {str(d): None for t in tensors for d in t.shape if not isinstance(d, int)}
        return tuple(found)

    def to_json(self) -> str:
        """The text that the runtime parses."""
        return json.dumps(_Writer(self).document(), separators=(",", ":"))


class _Writer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.numbers: dict[int, int] = {}
        self.tensors: list[dict[str, Any]] = []
        self.extents = {text: i for i, text in enumerate(program.extents())}

    def document(self) -> dict[str, Any]:
        program = self.program
        inputs = [self._tensor(t) for t in program.inputs]
        constants = [self._tensor(t) for t in program.constants()]
        ops = [self._op(op) for op in program.ops]
        return {
            "precision": program.precision,
            "winograd": program.winograd,
            "extents": len(self.extents),
            "inputs": inputs,
            "constants": constants,
            "outputs": [self._tensor(t) for t in program.outputs],
            "tensors": self.tensors,
            "ops": ops,
        }

    def _tensor(self, tensor: Tensor) -> int:
        number = self.numbers.setdefault(id(tensor), len(self.tensors))
        if number == len(self.tensors):
            shape = [d if isinstance(d, int) else -1 - self.extents[str(d)] for d in tensor.shape]
            self.tensors.append({"dtype": tensor.dtype, "shape": shape})
        return number

    def _op(self, op: Op) -> dict[str, Any]:
        written: dict[str, Any] = {"kind": op.kind, "name": op.name, "inputs": [self._tensor(t) for t in op.inputs]}
        if op.algorithm:
            written["algorithm"] = op.algorithm
        if op.numbers:
            written["numbers"] = {key: [int(v) for v in values] for key, values in sorted(op.numbers.items())}
        if op.scalars:
            written["scalars"] = {key: float(v) for key, v in sorted(op.scalars.items())}
        if op.scales:
            written["scales"] = {key: self._tensor(t) for key, t in sorted(op.scales.items())}
        if op.post_ops:
            written["post_ops"] = [self._post_op(p) for p in op.post_ops]
        written["outputs"] = [self._tensor(op.output)]
        return written

    def _post_op(self, post_op: PostOp) -> dict[str, Any]:
        written: dict[str, Any] = {"kind": post_op.kind}
        if post_op.algorithm:
            written["algorithm"] = post_op.algorithm
        if post_op.kind != "binary":
            written |= {"alpha": float(post_op.alpha), "beta": float(post_op.beta)}
        if post_op.input is not None:
            written["input"] = self._tensor(post_op.input)
        return written
