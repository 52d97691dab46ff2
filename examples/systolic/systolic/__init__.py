"""systolic: an emulated accelerator for int8 models."""

from systolic.codegen import Systolic

__all__ = ["Systolic"]
