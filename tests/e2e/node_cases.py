"""Test cases that come with the ``onnx`` package: a model, inputs, and the outputs that the standard wants of them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")


@dataclass(frozen=True)
class Case:
    """``data_sets``: pairs of inputs and expected outputs, both in the order of the graph."""

    name: str
    model: onnx.ModelProto
    data_sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def cases(only: str = "", kinds: Sequence[str] = ("node",)) -> list[Case]:
    """The tests of these kinds whose name matches."""
    from onnx.backend.test.loader import load_model_tests

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in kinds:
            for case in load_model_tests(kind=kind):
                if not re.search(only, case.name):
                    continue
                model, data = case.model, case.data_sets
                if model is None:
                    model, data = _read(Path(case.model_dir))
                found.append(Case(case.name, model, data, case.rtol, case.atol))
    return found


def _read(folder: Path) -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
    model = onnx.load(folder / "model.onnx")
    data_sets = []
    for data in sorted(folder.glob("test_data_set*")):
        inputs = [_value(data / f"input_{i}.pb", spec) for i, spec in enumerate(_inputs_without_weights(model))]
        outputs = [_value(data / f"output_{i}.pb", spec) for i, spec in enumerate(model.graph.output)]
        data_sets.append((inputs, outputs))
    return model, data_sets


def _inputs_without_weights(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _value(file: Path, spec: onnx.ValueInfoProto) -> Any:
    kind = spec.type.WhichOneof("value")
    proto: Any = {
        "tensor_type": onnx.TensorProto,
        "sequence_type": onnx.SequenceProto,
        "optional_type": onnx.OptionalProto,
    }[kind]()
    proto.ParseFromString(file.read_bytes())
    if kind == "tensor_type":
        return numpy_helper.to_array(proto)
    return numpy_helper.to_list(proto) if kind == "sequence_type" else numpy_helper.to_optional(proto)


# Positions of inputs that real models have as constants.
_DECIDING = {
    "Reshape": (1,), "Resize": (1, 2, 3), "Upsample": (1,), "Split": (1,), "SplitToSequence": (1,), "TopK": (1,),
    "Pad": (1, 2, 3), "OneHot": (1, 2), "CumSum": (1,), "CumProd": (1,), "Slice": (1, 2, 3, 4), "Squeeze": (1,),
    "Unsqueeze": (1,), "Tile": (1,), "Expand": (1,), "AffineGrid": (1,), "ConstantOfShape": (0,), "MaxUnpool": (2,),
    "Clip": (1, 2), "Range": (0, 1, 2), "Dropout": (1, 2), "NonMaxSuppression": (2, 3, 4), "Trilu": (1,),
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "CenterCropPad": (1,), "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7), "Col2Im": (1, 2), "DFT": (1, 2), "STFT": (1, 3), "HannWindow": (0,),
    "HammingWindow": (0,), "BlackmanWindow": (0,), "MelWeightMatrix": (0, 1, 2, 3, 4), "Loop": (0, 1),
    "SequenceAt": (1,), "ConvInteger": (2, 3), "MatMulInteger": (2, 3), "ReverseSequence": (1,),
    "BatchNormalization": (1, 2, 3, 4), "If": (0,), "SequenceInsert": (2,), "SequenceErase": (1,),
}  # fmt: skip


def with_constants(case: Case) -> tuple[onnx.ModelProto, set[int]] | None:
    """The model with deciding inputs made constants, and the positions of those that stay inputs; None: has none.

    A test named NAME_expanded is NAME with its operator written out, and the same inputs decide.
    """
    if len(case.data_sets) != 1:
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    names = [value.name for value in model.graph.input]
    nodes = [*model.graph.node]
    for whole in cases(f"^{re.escape(case.name.split('_expanded')[0])}$") if "_expanded" in case.name else ():
        nodes.extend(whole.model.graph.node)
    fixed = set()
    for node in nodes:
        positions = (1,) if node.op_type.startswith("Reduce") else _DECIDING.get(node.op_type, ())
        fixed |= {node.input[p] for p in positions if p < len(node.input) and node.input[p] in names}
    if not fixed:
        return None
    values = dict(zip(names, case.data_sets[0][0], strict=False))
    for name in sorted(fixed):
        value = values[name]
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value)))
        tensor.name = name
        model.graph.initializer.append(tensor)
    kept = [value for value in model.graph.input if value.name not in fixed]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model, {i for i, name in enumerate(names) if name not in fixed}


def plain(value: Any) -> Any:
    """An input or output as an array, or a list of these."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


# Of types so narrow that two correct results may be a rounding apart.
_STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def difference(case: Case, got: Sequence[Any], expected: Sequence[Any]) -> str:
    """How the results differ from those expected; "" if they do not."""
    if len(got) < len(expected):
        return f"{len(got)} outputs in place of {len(expected)}"
    for index, (one, other) in enumerate(zip(got, expected, strict=False)):
        text = _one_difference(plain(one), plain(other), max(case.rtol, 1e-3), max(case.atol, 1e-5))
        if text:
            return f"output {index}: {text}"
    return ""


def _one_difference(got: Any, wanted: Any, rtol: float, atol: float) -> str:
    if wanted is None or got is None:
        return "" if wanted is got else "one is absent"
    if isinstance(wanted, list):
        if not isinstance(got, list) or len(got) != len(wanted):
            return f"a sequence of {len(wanted)} in place of {type(got).__name__}"
        return next(filter(None, (_one_difference(g, w, rtol, atol) for g, w in zip(got, wanted, strict=True))), "")
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return f"shape {got.shape} in place of {wanted.shape}"
    if str(got.dtype) != str(wanted.dtype):
        return f"dtype {got.dtype} in place of {wanted.dtype}"
    if wanted.dtype.kind in "OSUb":
        return "" if np.array_equal(got, wanted) else "other values"
    step = 2 * _STEPS.get(str(wanted.dtype), 0.0)
    rtol, atol = max(rtol, step), max(atol, step)
    a, b = (x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) for x in (got, wanted))
    if wanted.dtype.kind in "iu":
        return "" if np.array_equal(got, wanted) else f"{np.count_nonzero(got != wanted)} of {got.size} integers differ"
    if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    with np.errstate(all="ignore"):
        return f"largest difference {np.nanmax(np.abs(a - b), initial=0.0):.3g}"
