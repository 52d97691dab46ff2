"""Trained models of the shared folder, for those who have it: small ones, and ones that no single codegen does best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import onnx

from tests.models import shared_folder

_FILES: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "fastestdet": ("fastestdet/FastestDet.onnx", {}),
    "ultraface": ("ultraface/version-RFB-320_simplified.onnx", {}),
    "super_resolution": ("super_resolution/super_resolution.onnx", {}),
    "candy": ("style-fns-candy/fns-candy.onnx", {}),
    "resnet20": ("cifar10-resnet/resnet20_cifar10.onnx", {}),
    "resnet8": ("mlperf-tiny/pretrainedResnet.onnx", {}),
    "keywords": ("mlperf-tiny/kws_ref_model_float32.onnx", {}),
    "autoencoder": ("mlperf-tiny/ad01_fp32.onnx", {}),
    "mnist": ("mnist-models/wonnx_opt-mnist.onnx", {}),
    "stories_prefill": ("stories260K/stories260K.onnx", {"T": 32}),
    "stories_decode": ("stories260K/stories260K_kvcache.onnx", {"T": 1, "P": 63, "PT": 64}),
}


def _load(file: str, sizes: Mapping[str, int], batch: int) -> onnx.ModelProto:
    """The model with its first dimension fixed to `batch` and its other symbols to `sizes`."""
    folder = shared_folder()
    assert folder is not None
    model = onnx.load(folder / "models" / file)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.dim_value:
                dim.dim_value = batch if index == 0 else sizes[dim.dim_param]
    return model


def shared_builders() -> dict[str, Callable[[int], onnx.ModelProto]]:
    """By name, how to build each model; none without the folder."""
    if shared_folder() is None:
        return {}
    return {name: partial(_load, file, sizes) for name, (file, sizes) in _FILES.items()}
