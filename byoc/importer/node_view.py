"""What a lowering sees of an ONNX node: its attributes, inputs and the builder; what it leaves unread is noticed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import onnx
import tvm
from tvm import relax

from byoc.errors import UnsupportedModelError
from byoc.importer.structure import Node
from byoc.importer.tensors import dtype_name
from byoc.importer.values import Dim, Extents, Known, Symbolic, Value

if TYPE_CHECKING:
    from byoc.importer.builder import GraphBuilder

# Attributes that never change a result: hints, or facts that the inputs state as well.
_HINTS = {"kernel_shape", "consumed_inputs", "momentum", "is_test", "storage_order", "layout_hint"}

# 0 or 1, and nothing else is defined; runtimes differ in what they make of another number.
_FLAGS = frozenset(
    {
        "align_corners", "allowzero", "antialias", "broadcast", "center_point_box", "ceil_mode", "count_include_pad",
        "detect_negative", "detect_positive", "exclude_outside", "exclusive", "fmod", "input_forget", "inverse",
        "is_causal", "keepdims", "largest", "linear_before_reset", "new_axis", "noop_with_empty_axes", "onesided",
        "output_sequence", "periodic", "reverse", "saturate", "select_last_index", "sorted", "storage_order",
        "training_mode", "transA", "transB", "upper",
    }
)  # fmt: skip


class NodeView:
    """One node while it is being lowered.

    Inputs are given by position; an absent optional one is None.  ``version`` is the opset version of the node's
    domain.  Every attribute must be read, or have its default: see :meth:`check_all_read`.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        node: Node,
        inputs: Sequence[Value | None],
        outputs_used: Sequence[bool],
        version: int,
        attributes: dict[str, onnx.AttributeProto],
    ) -> None:
        self.builder = builder
        self.node = node
        self.version = version
        self.inputs = list(inputs)
        self.outputs_used = list(outputs_used)
        self.attributes = attributes
        self._read: set[str] = set()

    # Attributes

    def attribute(self, name: str, default: Any = None) -> Any:
        """The attribute as int, float, str, list of these, array (tensors) or graph."""
        self._read.add(name)
        if name not in self.attributes:
            return default
        value = onnx.helper.get_attribute_value(self.attributes[name])
        if name in _FLAGS and value not in (0, 1):
            self.refuse(f'its attribute "{name}" = {_short(value)} is neither 0 nor 1')
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, onnx.TensorProto):
            return self.builder.reader.array(value)
        if isinstance(value, (list, tuple)) or hasattr(value, "append"):
            return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
        return value

    def mark_read(self, *names: str) -> None:
        """These attributes are dealt with."""
        self._read.update(names)

    def dtype_attribute(self, name: str) -> str | None:
        """An element-type attribute as a dtype name; None if absent."""
        value = self.attribute(name, 0)
        return dtype_name(value) if value else None

    def check_all_read(self) -> None:
        """Refuse the node if an attribute that it sets away from its default was not looked at."""
        unread = set(self.attributes) - self._read - _HINTS
        if not unread:
            return
        standard = _standard_attributes(self.node.domain, self.node.proto.op_type, self.version)
        for name in sorted(unread):
            value = onnx.helper.get_attribute_value(self.attributes[name])
            if name not in standard:
                self.refuse(f'its attribute "{name}" is unknown')
            if not standard[name].name or value != onnx.helper.get_attribute_value(standard[name]):
                self.refuse(f'its attribute "{name}" = {_short(value)} is not supported')

    # Inputs

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """The input; refuses the node if it is absent."""
        if not self.has(index):
            self.refuse(f"its input {index} is missing")
        return self.inputs[index]

    def tensor(self, index: int) -> relax.Expr:
        """The input as a Relax expression of tensor type."""
        return self.builder.as_tensor(self.value(index))

    def known(self, index: int) -> np.ndarray | None:
        """The input's array if it is known at import; None if it is not, or is absent."""
        value = self.inputs[index] if self.has(index) else None
        return value.array if isinstance(value, Known) else None

    def require_known(self, index: int, meaning: str) -> np.ndarray:
        """The input's array; refuses the node if it is not known at import."""
        array = self.known(index)
        if array is None:
            self.refuse(f"its input {meaning} is computed at run time; it must be constant")
        return array

    def elements(self, index: int) -> list[Dim] | None:
        """The elements of a small integer input as numbers and symbols; None if they are not known."""
        value = self.inputs[index] if self.has(index) else None
        return elements_of(value)

    def ints(self, index: int, attribute: str, default: list[int] | None = None) -> list[int] | None:
        """Integers that are an attribute in old opsets and an input in newer ones."""
        if self.has(index):
            return [int(v) for v in self.require_known(index, f'"{attribute}"').reshape(-1)]
        return self.attribute(attribute, default)

    # Types

    def type_of(self, value: Value) -> relax.TensorType:
        return self.builder.type_of(value)

    def dtype(self, index: int) -> str:
        return self.builder.dtype_of(self.value(index))

    def shape(self, index: int) -> list[Dim]:
        """The input's extents; refuses the node if its rank is unknown."""
        return self.shape_of(self.value(index))

    def shape_of(self, value: Value) -> list[Dim]:
        shape = self.builder.shape_of(value)
        if shape is None:
            self._refuse_unknown("shape")
        return shape

    def rank(self, index: int) -> int:
        rank = self.builder.rank_of(self.value(index))
        if rank is None:
            self._refuse_unknown("rank")
        return rank

    def axis(self, value: int, rank: int) -> int:
        """``value`` counted from the front; refuses the node if it is out of range."""
        if not -rank <= value < rank:
            self.refuse(f"its axis {value} is out of range for rank {rank}")
        return value % rank

    @property
    def extents(self) -> Extents:
        return self.builder.extents

    # Results

    def emit(self, expr: relax.Expr) -> relax.Var:
        variable = self.builder.block_builder.emit(expr)
        self.builder.budget.tensor(variable.ty, "a value in it")
        return variable

    def allow_table(self, *extents: int, what: str) -> None:
        """Raise :class:`LimitError` if a table of that shape, worked out at import, is beyond the limit."""
        self.builder.budget.table(*extents, what=what)

    def uses(self, index: int) -> bool:
        """Whether anything reads output ``index``."""
        return index < len(self.outputs_used) and self.outputs_used[index]

    def refuse(self, why: str, todo: str = "change the model or its export so that it avoids this.") -> NoReturn:
        raise UnsupportedModelError(f"node {self.node} cannot be imported", why, todo)

    def _refuse_unknown(self, what: str) -> NoReturn:
        why = f"the {what} of one of its inputs is unknown at import"
        if self.extents.open_sizes:
            names = ", ".join(self.extents.open_sizes)
            self.refuse(why, f'give the sizes that the model leaves open ({names}) by "--shape", or change its export.')
        self.refuse(why)


def elements_of(value: Value | None) -> list[Dim] | None:
    """The elements, if the value is known and of integers, or symbolic; row-major."""
    if isinstance(value, Symbolic):
        return list(value.elements.reshape(-1))
    if isinstance(value, Known) and value.array.dtype.kind in "iu":
        return [int(v) for v in value.array.reshape(-1)]
    return None


def standard_defaults(domain: str, operator: str, version: int) -> dict[str, onnx.AttributeProto]:
    """The attributes that the standard gives a default, with it."""
    return {name: default for name, default in _standard_attributes(domain, operator, version).items() if default.name}


@functools.lru_cache(maxsize=1024)
def _standard_attributes(domain: str, operator: str, version: int) -> dict[str, onnx.AttributeProto]:
    try:
        schema = onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return {}
    return {name: attribute.default_value for name, attribute in schema.attributes.items()}


def _short(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value).replace("\n", " ")
    return text if len(text) <= 40 else text[:37] + "..."


def is_scalar_expr(value: Any) -> bool:
    """Whether ``value`` is a scalar integer expression of TVM (not a tensor)."""
    return isinstance(value, tvm.ir.Expr) and tvm.ir.is_prim_expr(value)
