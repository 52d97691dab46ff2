"""What an op costs on the host, on a target, and on the way between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from byoc.codegen import VENDOR_FAULTS, Match, Peaks, guilty_line
from byoc.errors import CheckError
from byoc.graph import Node, Value
from byoc.partitioner.measured import MeasuredCosts
from byoc.partitioner.target import Target
from byoc.partitioner.work import bytes_of, dims, family_of, flops_of, value_bytes

# By benchmarks/calibrate.py: two cores with AVX-512.
HOST_PEAKS = Peaks(
    flops=1e11,
    bandwidth=5e10,
    link_bandwidth=float("inf"),
    layout_bandwidth=2e10,  # convolutions have their channels last
    call_overhead=5e-7,
    op_overhead=1e-7,
    families={
        "convolution 3x3": 4.7e11,
        "convolution 1x1": 4.5e11,
        "convolution": 4.2e11,
        "depthwise": 1e11,
        "product": 4.3e11,
        "pooling": 4e10,
        "rows": 2.7e10,
        "elementary": 2.2e10,
        "arithmetic": 7e10,
        "integer convolution": 1.4e10,
        "integer depthwise": 1e10,
        "integer product": 1.1e11,
        "packed product": 3e10,
        "cached attention": 4.5e10,
    },
    family_overheads={
        "convolution 3x3": 8e-6,
        "convolution 1x1": 3e-6,
        "convolution": 4e-6,
        "depthwise": 5e-6,
    },
)

_HOST_UNPACKS = 5e8  # weights of a packed product per second: it turns them into floats at every call
_IMAGE_RANK = 4
_ELEMENTWISE = ("arithmetic", "elementary")
_FUSED_WITH = (*_ELEMENTWISE, "convolution 3x3", "convolution 1x1", "convolution", "depthwise", "product")


def is_fused(node: Node) -> bool:
    """Whether the host computes an element-wise op in the kernel of one that it reads, without traffic of its own."""
    if family_of(node) not in _ELEMENTWISE or len(node.outputs) != 1:
        return False
    shape = node.outputs[0].shape
    producers = [value.producer for value in node.inputs if value.shape == shape and value.producer is not None]
    # With the last of them: that may need the others, and be done by another kernel.
    return bool(producers) and family_of(max(producers, key=lambda p: p.index)) in _FUSED_WITH


@dataclass(frozen=True)
class CostModel:
    """Seconds, from a roofline of FLOPs and bytes against declared peaks, unless measured or given by the codegen."""

    nominal_dim: int
    host: Peaks = HOST_PEAKS
    measured: MeasuredCosts = field(default_factory=MeasuredCosts)
    _asked: dict[Match, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def on_host(self, node: Node) -> float:
        """Seconds that one op takes on the host."""
        known = self.measured.on_host(node)
        if known is not None:
            return known
        if is_fused(node):
            return self._compute((node,), self.host)
        return self.host.call_overhead + self._roofline(node, self.host) + self._unpacking(node)

    def _unpacking(self, node: Node) -> float:
        if family_of(node) != "packed product":
            return 0.0
        inputs, outputs = dims(node.inputs[0], self.nominal_dim)[-1], dims(node.outputs[0], self.nominal_dim)[-1]
        return inputs * outputs / _HOST_UNPACKS

    def on_target(self, target: Target, match: Match) -> float:
        """Seconds that one match takes on a target.  Raises :class:`CheckError` when its `cost` misbehaves."""
        if match not in self._asked:
            known = self.measured.on_target(target.name, match.nodes)
            self._asked[match] = known if known is not None else self._estimate(target, match)
        return self._asked[match]

    def _estimate(self, target: Target, match: Match) -> float:
        try:
            seconds = target.codegen.cost(match)
        except VENDOR_FAULTS as error:
            raise CheckError(
                f'codegen "{target.name}": cost raised {type(error).__name__}: {error}', f"at {guilty_line(error)}"
            ) from error
        if seconds is None:
            return self._match_roofline(target, match)
        if not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
            raise CheckError(f'codegen "{target.name}": cost returned {seconds!r}', "seconds >= 0 are expected")
        return float(seconds)

    def _match_roofline(self, target: Target, match: Match) -> float:
        """One composite reads its inputs and writes its results once; what stays inside costs no traffic."""
        peaks = target.codegen.peaks
        if len(match.nodes) == 1:
            return self._roofline(match.root, peaks)
        traffic = sum(value_bytes(v, self.nominal_dim) for v in (*match.inputs, *match.outs))
        return self._at_least(match.nodes, peaks) + max(self._compute(match.nodes, peaks), traffic / peaks.bandwidth)

    def _roofline(self, node: Node, peaks: Peaks) -> float:
        traffic = bytes_of(node, self.nominal_dim)
        if traffic == 0:
            return 0.0
        return self._at_least((node,), peaks) + max(self._compute((node,), peaks), traffic / peaks.bandwidth)

    def _compute(self, nodes: Sequence[Node], peaks: Peaks) -> float:
        """Seconds of arithmetic: the heaviest op at the rate of its family, what is fused with it at the best one."""
        flops = [flops_of(n, self.nominal_dim) for n in nodes]
        heaviest = max(range(len(nodes)), key=flops.__getitem__)
        rate = peaks.families.get(family_of(nodes[heaviest]), peaks.flops)
        return flops[heaviest] / rate + (sum(flops) - flops[heaviest]) / peaks.flops

    def _at_least(self, nodes: Sequence[Node], peaks: Peaks) -> float:
        """Seconds that ops take together however little they do: those of the family that takes most."""
        return max(peaks.family_overheads.get(family_of(n), peaks.op_overhead) for n in nodes)

    def transfer(self, value: Value, a: Peaks, b: Peaks) -> float:
        """Seconds to hand a value from one owner to another, or to the caller: `a` and `b` are the same then."""
        seconds = 1 / min(a.link_bandwidth, b.link_bandwidth)
        if value.shape is not None and len(value.shape) >= _IMAGE_RANK:
            seconds += 1 / min(a.layout_bandwidth, b.layout_bandwidth)
        return value_bytes(value, self.nominal_dim) * seconds

    def switch(self, a: Peaks, b: Peaks, work: float) -> float:
        """Seconds that threads lose between two owners; none where an op on either side takes no time (`work`)."""
        return a.switch_overhead + b.switch_overhead if work else 0.0
