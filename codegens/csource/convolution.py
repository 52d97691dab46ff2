"""The geometry of a convolution, read from its op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from byoc import Value, reject

LONGEST_KERNEL = 1024
_LAYOUTS = {1: ("NCW", "OIW", "IOW"), 2: ("NCHW", "OIHW", "IOHW"), 3: ("NCDHW", "OIDHW", "IODHW")}


@dataclass(frozen=True)
class Geometry:
    """A convolution with three spatial axes; those that the op lacks have size 1.

    `in_channels` and `out_channels` are those of one group.  Sizes of the image are ints or dims.
    """

    batch: Any
    groups: int
    in_channels: int
    out_channels: int
    image: tuple[Any, ...]
    result: tuple[Any, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pad: tuple[int, ...]

    @property
    def pixels(self) -> Any:
        """Pixels of a result."""
        return self.result[0] * self.result[1] * self.result[2]

    @property
    def taps(self) -> int:
        """Products that make one element of the result."""
        return self.in_channels * self.kernel[0] * self.kernel[1] * self.kernel[2]

    @property
    def is_pointwise(self) -> bool:
        """Whether each pixel of the result needs the same pixel of the image and no other."""
        ones = (1, 1, 1)
        return self.kernel == ones and self.stride == ones and self.pad == (0, 0, 0)

    @property
    def copied(self) -> Any:
        """Floats of the padded copy that the C code makes of an image (all channels)."""
        extents: list[Any] = []
        for size, kernel, stride, dilation in zip(self.result, self.kernel, self.stride, self.dilation, strict=True):
            extents.append(size if kernel == 1 else (size - 1) * stride + (kernel - 1) * dilation + 1)
        if self.kernel[2] > 1:
            phases = self.stride[2]
            extents[2] = (extents[2] + phases - 1) // phases * phases
        return extents[0] * extents[1] * extents[2] * self.groups * self.in_channels

    def c_fields(self) -> str:
        """Fields of the C struct that describe it."""
        arrays = {
            "in": self.image, "out": self.result, "kernel": self.kernel, "stride": self.stride,
            "dilation": self.dilation, "pad": self.pad,
        }  # fmt: skip
        channels = f".groups = {self.groups}, .in_channels = {self.in_channels}, .out_channels = {self.out_channels}"
        return ", ".join([channels, *(f".{k} = {{{', '.join(map(str, v))}}}" for k, v in arrays.items())])


def geometry_of(out: Value) -> Geometry:
    """The geometry of the convolution that computes `out`; `refusal` has accepted it."""
    assert out.producer is not None and out.shape is not None
    x, weight = out.producer.inputs[:2]
    assert x.shape is not None and weight.shape is not None
    attrs, spatial = out.attrs, len(x.shape) - 2
    transposed = "transpose" in out.op
    groups = int(attrs["groups"])
    kernel: Any = weight.shape[2:]
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    assert isinstance(inputs, int) and isinstance(outputs, int)
    return Geometry(
        batch=x.shape[0],
        groups=groups,
        in_channels=inputs // groups,
        out_channels=outputs // groups,
        image=_three(x.shape[2:], 1),
        result=_three(out.shape[2:], 1),
        kernel=_three(kernel, 1),
        stride=_three(attrs["strides"], 1),
        dilation=_three(attrs["dilation"], 1),
        pad=_three(tuple(attrs["padding"])[:spatial], 0),
    )


def _three(values: Any, fill: int) -> tuple[Any, ...]:
    return (fill,) * (3 - len(values)) + tuple(values)


def refusal(out: Value) -> Any:
    """Why a convolution cannot be done, as a `Reject`, or ``None``."""
    assert out.producer is not None
    x, weight = out.producer.inputs
    for value in (x, weight, out):
        if value.shape is None:
            return reject("the rank of a tensor is not known", at=value)
    assert x.shape is not None and weight.shape is not None and out.shape is not None
    attrs, spatial = out.attrs, len(x.shape) - 2
    data, kernel, turned = _LAYOUTS[spatial]
    wanted = {"data_layout": data, "kernel_layout": turned if "transpose" in out.op else kernel, "out_layout": data}
    for name, layout in wanted.items():
        if attrs.get(name) not in (layout, "", None):
            return reject(f"{out.op} takes {name}={layout}, not {attrs[name]}", at=x)
    if not weight.is_static:
        return reject("the size of the kernel is known only at run time", at=weight)
    if not isinstance(x.shape[1], int):
        return reject("the number of channels is known only at run time", at=x)
    if not all(isinstance(v, int) for n in ("strides", "padding", "dilation") for v in attrs[n]):
        return reject("strides, padding and dilation must be known when the model is compiled", at=x)
    if any(isinstance(d, int) and d > LONGEST_KERNEL for d in weight.shape[2:]):
        return reject(f"kernels longer than {LONGEST_KERNEL} are not done", at=weight)
    if any(v < 0 for v in attrs["padding"]):
        return reject("negative padding is not done", at=x)
    return None
