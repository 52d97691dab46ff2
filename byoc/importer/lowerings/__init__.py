"""What the importer knows about each operator.  Importing this package fills the table of operators."""

from byoc.importer.lowerings import (
    activation,
    constant,
    convolution,
    elementwise,
    fold_shapes,
    image,
    index,
    legacy,
    normalization,
    quantised,
    reduce,
    reshape,
    shape,
    stock_converters,
)

__all__ = [
    "activation",
    "constant",
    "convolution",
    "elementwise",
    "fold_shapes",
    "image",
    "index",
    "legacy",
    "normalization",
    "quantised",
    "reduce",
    "reshape",
    "shape",
    "stock_converters",
]
