"""dnnl: oneDNN primitives for float32 and bfloat16 on x86-64 CPUs."""

from byoc_codegens.dnnl.codegen import Dnnl

__all__ = ["Dnnl"]
