"""What a quantisation did to each layer, as text and as one page of HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byoc.quant.ranges import Range
from byoc.quant.result import QuantizedModel
from byoc.quant.sensitivity import Cost
from byoc.text_table import table

_WORST = 5


@dataclass(frozen=True)
class Report:
    """Ranges of all rounded tensors, and, where measured, what each layer costs.

    ``tensors``: (tensor, name of the layer that computes it or ``"input"``, range), in topological order.
    """

    model: QuantizedModel
    tensors: tuple[tuple[str, str, Range], ...]
    costs: tuple[Cost, ...]

    def text(self) -> str:
        """Some lines for a terminal."""
        layers, floats = self.model.layers.layers, self.model.layers.float_nodes
        bits = self.model.settings.bits
        lines = [f"{len(layers)} layers take integers of {bits} bits, {len(floats)} nodes stay float"]
        reasons: dict[str, list[str]] = {}
        for node, reason in floats.items():
            reasons.setdefault(reason, []).append(node)
        lines += [f"  float: {_some(nodes)}: {reason}" for reason, nodes in reasons.items()]
        measured = [(t, name, r) for t, name, r in self.tensors if math.isfinite(r.snr)]
        if measured:
            worst = sorted(measured, key=lambda entry: entry[2].snr)[:_WORST]
            rows = [[name, f"{r.snr:.1f} dB", f"{r.threshold:.4g}", f"{100 * r.clipped:.2f}%"] for _, name, r in worst]
            lines += ["least signal over noise:", table(["layer", "SNR", "threshold", "clipped"], rows, "lrrr")]
        if self.costs:
            rows = [[c.layer, f"{c.gain:+.2f} dB", f"{c.seconds * 1e6:.0f} us"] for c in self.costs[:_WORST]]
            shown = table(["layer", "output gains", "costs about"], rows, "lrr")
            lines += ["gained by keeping a layer in float:", shown]
        return "\n".join([*lines, *(f"note: {note}" for note in self.model.notes)])

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "tensors": {
                tensor: {
                    "layer": name, "threshold": r.threshold, "scale": r.step, "peak": r.peak, "clipped": r.clipped,
                    "snr": r.snr if math.isfinite(r.snr) else None, "histogram": list(r.histogram),
                }
                for tensor, name, r in self.tensors
            },
            "costs": [{"layer": c.layer, "gain": c.gain, "seconds": c.seconds} for c in self.costs],
            "float_nodes": dict(self.model.layers.float_nodes),
            "notes": list(self.model.notes),
        }  # fmt: skip

    def html(self) -> str:
        """One page that needs nothing else: signal over noise and cost of each layer, a histogram of each tensor."""
        snr = [(name, r.snr) for _, name, r in self.tensors if math.isfinite(r.snr)]
        parts = [f"<h1>{html.escape(self.model.graph.name or 'model')}, {self.model.settings.bits} bits</h1>"]
        parts.append(f"<pre>{html.escape(self.text())}</pre>")
        parts.append("<h2>Signal over noise, all layers before included</h2>" + _bars(snr, "dB") if snr else "")
        if self.costs:
            gains = [(c.layer, c.gain) for c in self.costs]
            parts.append("<h2>What the output gains when one layer stays float</h2>" + _bars(gains, "dB"))
        parts.append("<h2>Magnitudes and thresholds</h2><div class=grid>")
        parts += [_histogram(tensor, r) for tensor, _, r in self.tensors]
        return _PAGE.format(title=html.escape(self.model.graph.name or "model"), body="\n".join([*parts, "</div>"]))


def make_report(model: QuantizedModel, costs: Sequence[Cost] = ()) -> Report:
    """The report of a quantisation."""
    layer_of: Mapping[str, str] = {layer.output: layer.name for layer in model.layers.layers}
    tensors = tuple((tensor, layer_of.get(tensor, "input"), r) for tensor, r in model.ranges.items())
    return Report(model, tensors, tuple(costs))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _bars(entries: Sequence[tuple[str, float]], unit: str) -> str:
    """A horizontal bar for each entry."""
    longest = max((abs(value) for _, value in entries), default=0.0) or 1.0
    rows = []
    for index, (name, value) in enumerate(entries):
        y, width = index * 18, 380 * abs(value) / longest
        rows.append(
            f'<text x="245" y="{y + 13}" text-anchor="end">{html.escape(name[-36:])}</text>'
            f'<rect class="{"bar" if value >= 0 else "minus"}" x="250" y="{y + 2}" width="{width:.1f}" height="14"/>'
            f'<text x="{255 + width:.1f}" y="{y + 13}">{value:.1f} {unit}</text>'
        )
    return f'<svg width="720" height="{len(entries) * 18 + 4}" role="img">{"".join(rows)}</svg>'


def _histogram(tensor: str, r: Range) -> str:
    """The magnitudes of a tensor on a logarithmic scale, with its threshold."""
    tallest = math.log1p(max(r.histogram, default=0)) or 1.0
    width = 240 / max(len(r.histogram), 1)
    bars = "".join(
        f'<rect class="bar" x="{i * width:.1f}" y="{80 - 80 * math.log1p(count) / tallest:.1f}" '
        f'width="{width:.1f}" height="{80 * math.log1p(count) / tallest:.1f}"/>'
        for i, count in enumerate(r.histogram)
    )
    place = 240 * min(1.0, r.threshold / r.peak) if r.peak else 240
    caption = f"threshold {r.threshold:.4g}, peak {r.peak:.4g}, clipped {100 * r.clipped:.2f}%"
    return (
        f"<figure><b>{html.escape(tensor[-40:])}</b>"
        f'<svg width="244" height="82" role="img">{bars}<line x1="{place:.1f}" x2="{place:.1f}" y1="0" y2="80"/></svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
svg text {{ font-size: 11px; }}
pre {{ overflow-x: auto; }}
.bar {{ fill: #4477aa; }} .minus {{ fill: #cc6677; }} line {{ stroke: #cc3311; stroke-width: 2; }}
.grid {{ display: flex; flex-wrap: wrap; gap: 1em; }} figure {{ margin: 0; width: 250px; overflow-wrap: anywhere; }}
</style>
<body>
{body}
</body></html>
"""
