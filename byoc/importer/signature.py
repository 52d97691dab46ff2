"""The model's inputs: names, dtypes and dimensions, with the caller's ``shapes`` worked in."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping, Sequence

import onnx
from tvm import relax, tirx

from byoc.dim import expression_text
from byoc.errors import ModelFileError, ShapeError, UnsupportedModelError, did_you_mean
from byoc.importer.elements import with_elements
from byoc.importer.tensors import dtype_name
from byoc.importer.values import Dim, Extents
from byoc.tensor_spec import TensorSpec

ShapeRequest = Mapping[str, Sequence["int | str | None"]]
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
}


class Signature:
    """Inputs of the model as Relax variables (in order) and as specs."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        frozen: set[str],
        shapes: ShapeRequest | None,
        extents: Extents,
        equal: Mapping[str, str] | None = None,
    ) -> None:
        self._extents = extents
        self._symbols: dict[str, tirx.Var] = {}
        self._replaced: dict[str, int | str] = {}
        self._equal = dict(equal or {})
        inputs, shapes = with_elements((value for value in graph.input if value.name not in frozen), shapes or {})
        _check_names([value.name for value in inputs])
        declared = {value.name: _declared(value) for value in inputs}
        wanted = _merge(declared, shapes)
        self._replace_symbols(declared, wanted)
        plain = {dim for dims in wanted.values() for dim in dims if isinstance(dim, str) and dim.isidentifier()}
        names = UniqueNames()
        self.variables: dict[str, relax.Var] = {}
        specs = []
        for value in inputs:
            dtype = dtype_name(value.type.tensor_type.elem_type)
            dims = [self._extent(dim, plain) for dim in wanted[value.name]]
            self.variables[value.name] = relax.Var(names.take(value.name, "input"), relax.TensorType(dims, dtype))
            specs.append(TensorSpec(value.name, dtype, tuple(dim_text(dim) for dim in dims)))
        self.specs = tuple(specs)

    def _replace_symbols(
        self, declared: Mapping[str, list[int | str] | None], wanted: Mapping[str, list[int | str]]
    ) -> None:
        """What the caller puts in a symbol's place in one input stands for it in every input."""
        for name, dims in declared.items():
            for before, after in zip(dims or wanted[name], wanted[name], strict=True):
                if isinstance(before, str) and before != after and self._replaced.setdefault(before, after) != after:
                    raise ShapeError(
                        f'dimension "{before}" is asked to be both {self._replaced[before]} and {after}',
                        f'several inputs share it, "{name}" among them',
                        "give it one size.",
                    )

    def _extent(self, dim: int | str, plain: set[str]) -> Dim:
        dim = self._replacement(dim) if isinstance(dim, str) else dim
        if isinstance(dim, int):
            return dim
        tree = _expression(dim)
        names = {item.id for item in ast.walk(tree) if isinstance(item, ast.Name)} if tree is not None else set()
        if tree is not None and names <= plain | set(self._replaced):
            return self._extents.simplify(self._evaluate(tree))
        return self._symbol(dim)

    def _replacement(self, name: str) -> int | str:
        """What stands for a symbol: the caller's choice, then what the graph makes it equal to."""
        dim = self._replaced.get(name, name)
        while isinstance(dim, str) and dim in self._equal:
            dim = self._equal[dim]
        return int(dim) if isinstance(dim, str) and dim.isdigit() else dim

    def _evaluate(self, tree: ast.expr) -> Dim:
        if isinstance(tree, ast.Constant):
            return int(tree.value)  # type: ignore[arg-type]
        if isinstance(tree, ast.Name):
            name = self._replacement(tree.id)
            return name if isinstance(name, int) else self._symbol(name)
        assert isinstance(tree, ast.BinOp)
        return _OPERATORS[type(tree.op)](self._evaluate(tree.left), self._evaluate(tree.right))

    def _symbol(self, name: str) -> tirx.Var:
        if name not in self._symbols:
            taken = {str(symbol.name) for symbol in self._symbols.values()}
            symbol = tirx.Var(_unique(identifier(name, "dim"), taken), "int64")
            self._extents.declare_input(symbol, name)
            self._symbols[name] = symbol
        return self._symbols[name]


class UniqueNames:
    """Valid, distinct identifiers for ONNX names."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str, prefix: str) -> str:
        fresh = _unique(identifier(name, prefix), self._taken)
        self._taken.add(fresh)
        return fresh


def identifier(name: str, prefix: str) -> str:
    """``name`` as an identifier; ``prefix`` goes before a leading digit."""
    clean = re.sub(r"\W", "_", name, flags=re.ASCII)
    return clean if re.match(r"[A-Za-z_]", clean) else f"{prefix}_{clean}"


def dim_text(dim: Dim) -> int | str:
    """An extent as :class:`TensorSpec` writes it."""
    if isinstance(dim, int):
        return dim
    if isinstance(dim, tirx.IntImm):
        return int(dim.value)
    text = expression_text(dim)
    return text[1:-1] if text.startswith("(") and _closes_at_end(text) else text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return index == len(text) - 1
    return False


def _unique(name: str, taken: set[str]) -> str:
    fresh, count = name, 1
    while fresh in taken:
        fresh, count = f"{name}_{count}", count + 1
    return fresh


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not name or names.count(name) > 1:
            raise ModelFileError(
                f'{names.count(name)} inputs of the model are called "{name}"' if name else "an input has no name",
                "inputs are given by their names",
                "export the model again.",
            )


def _declared(value: onnx.ValueInfoProto) -> list[int | str] | None:
    """Dimensions that the model declares; None: not even how many."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedModelError(
            f'input "{value.name}" is a {(kind or "value without a type").removesuffix("_type")}',
            "the importer takes dense tensors only",
            "export the model with tensor inputs.",
        )
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims: list[int | str] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0:
            dims.append(dim.dim_value)
        else:
            dims.append(dim.dim_param or _fresh(value.name, axis))
    return dims


def _fresh(name: str, axis: int) -> str:
    return f"{identifier(name, 'input')}_dim{axis}"


def _merge(declared: Mapping[str, list[int | str] | None], shapes: ShapeRequest) -> dict[str, list[int | str]]:
    for name in shapes:
        if name not in declared:
            raise ShapeError(
                f'a shape is given for "{name}", which is no input of the model', "", did_you_mean(name, declared)
            )
    merged = {}
    for name, dims in declared.items():
        asked = shapes.get(name)
        if asked is None and dims is None:
            raise ShapeError(
                f'input "{name}" has no shape in the model',
                "not even its rank is known",
                f"give one, such as {name}=1,3,?.",
            )
        merged[name] = list(dims or []) if asked is None else _merge_one(name, dims, asked)
    return merged


def _merge_one(name: str, dims: list[int | str] | None, asked: Sequence[int | str | None]) -> list[int | str]:
    if dims is None:
        dims = [_fresh(name, axis) for axis in range(len(asked))]
    shown = ",".join("?" if dim is None else str(dim) for dim in asked)
    if len(asked) != len(dims):
        raise ShapeError(
            f'shape {shown} for input "{name}" has {len(asked)} dimensions; the model has {len(dims)}',
            f"the model declares [{', '.join(map(str, dims))}]",
            "give one entry per dimension.",
        )
    merged: list[int | str] = []
    for axis, (dim, want) in enumerate(zip(dims, asked, strict=True)):
        whole = isinstance(want, int) and not isinstance(want, bool) and 0 <= want < 2**63
        if not (whole or want is None or isinstance(want, str)):
            raise ShapeError(
                f'dimension {axis} of shape {shown} for input "{name}" is {want!r}', "", "give a size, a name or ?."
            )
        if want is None or want == "?":
            merged.append(dim if isinstance(dim, str) else _refuse_change(name, axis, dim, "free"))
        elif isinstance(dim, int) and want != dim:
            _refuse_change(name, axis, dim, str(want))
        else:
            merged.append(want)
    return merged


def _refuse_change(name: str, axis: int, dim: int, wanted: str) -> str:
    raise ShapeError(
        f'dimension {axis} of input "{name}" is {dim} in the model and cannot be made {wanted}',
        "the model was exported for that size",
        f"ask for {dim} there, or export the model with a free dimension.",
    )


def _expression(text: str) -> ast.expr | None:
    """The parsed sum or product of names and numbers; None if ``text`` is anything else."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for item in ast.walk(tree):
        whole = isinstance(item, ast.Constant) and type(item.value) is int
        allowed = (ast.BinOp, ast.Name, ast.Load, *_OPERATORS)
        if not whole and not isinstance(item, allowed):
            return None
    return tree
