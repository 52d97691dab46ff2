"""Post-training quantisation: float ONNX and one batch in, standard QDQ ONNX and integer parameters out."""

from byoc.quant.dynamic import DynamicModel, quantize_dynamic
from byoc.quant.quantize import quantize
from byoc.quant.result import QuantizedModel
from byoc.quant.settings import Settings

__all__ = ["DynamicModel", "QuantizedModel", "Settings", "quantize", "quantize_dynamic"]
