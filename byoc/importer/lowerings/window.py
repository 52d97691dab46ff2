"""How a kernel walks over an image."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.importer.node_view import NodeView
from byoc.importer.values import Dim

INT32_MAX = 2**31 - 1  # of TVM's attributes
# Spatial dimensions to the layouts of data, weights, and weights of a transposed convolution.
LAYOUTS = {1: ("NCW", "OIW", "IOW"), 2: ("NCHW", "OIHW", "IOHW"), 3: ("NCDHW", "OIDHW", "IODHW")}


class Window:
    """How a kernel walks over the spatial dimensions: one entry per dimension in each list."""

    def __init__(self, view: NodeView, kernel: Sequence[Dim]) -> None:
        self.view = view
        self.rank = len(kernel)
        if self.rank not in LAYOUTS:
            view.refuse(f"it has {self.rank} spatial dimensions; the importer takes 1 to 3")
        if not all(isinstance(extent, int) for extent in kernel):
            view.refuse(f"its kernel has the symbolic shape {[str(k) for k in kernel]}")
        self.kernel = [int(extent) for extent in kernel]
        self.strides = view.attribute("strides") or [1] * self.rank
        self.dilations = view.attribute("dilations") or [1] * self.rank
        self.ceil = bool(view.attribute("ceil_mode", 0))
        pads = view.attribute("pads") or [0] * (2 * self.rank)
        self.auto = view.attribute("auto_pad", "NOTSET")
        for name, given in (("strides", self.strides), ("dilations", self.dilations), ("pads", pads)):
            if len(given) != self.rank * (2 if name == "pads" else 1):
                view.refuse(f'its attribute "{name}" = {given} does not fit {self.rank} spatial dimensions')
        for name, given in (("kernel", self.kernel), ("strides", self.strides), ("dilations", self.dilations)):
            if min(given) < 1:
                view.refuse(f"its {name} {given} must be positive")
            if max(given) > INT32_MAX:
                view.refuse(f"its {name} {given} must be below 2**31")
        if max(pads, key=abs, default=0) > INT32_MAX or min(pads, default=0) < -INT32_MAX:
            view.refuse(f"its pads {pads} must be below 2**31")
        if self.auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            view.refuse(f'its attribute "auto_pad" is "{self.auto}"')
        pads = [0] * (2 * self.rank) if self.auto == "VALID" else pads
        self.before: list[int] = pads[: self.rank]
        self.after: list[int] = pads[self.rank :]
        if self.auto.startswith("SAME"):
            totals = [self._same_total(axis) for axis in range(self.rank)]
            small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
            self.before, self.after = (small, large) if self.auto == "SAME_UPPER" else (large, small)

    def span(self, axis: int) -> int:
        """Input positions that one kernel placement covers."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def _same_total(self, axis: int) -> int:
        extent = self.view.shape(0)[2 + axis]
        if self.strides[axis] == 1:
            return self.span(axis) - 1
        if not isinstance(extent, int):
            self.view.refuse(f"{self.auto} with stride {self.strides[axis]} pads by the symbolic extent {extent}")
        out = -(-extent // self.strides[axis])
        return max(0, (out - 1) * self.strides[axis] + self.span(axis) - extent)

    @property
    def pads(self) -> list[int]:
        return [*self.before, *self.after]
