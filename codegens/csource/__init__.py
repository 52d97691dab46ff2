"""Readable C for the CPU, without dependencies: the reference codegen."""

from byoc_codegens.csource.codegen import CSourceCodegen

__all__ = ["CSourceCodegen"]
