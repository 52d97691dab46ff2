"""A report as one HTML file that needs nothing else: frontier with hover and filters, table, heat maps, layers."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files
from string import Template
from typing import Any

from byoc.pareto.configuration import Configuration
from byoc.pareto.report import Report
from byoc.text_table import bytes_text
from byoc.viz.page import safe_json


def report_page(report: Report, model: str) -> str:
    """The page as HTML text; `model` is the folder in the commands that it shows.

    Texts of the model are escaped or travel as data; a content security policy lets the one script run, and nothing
    load.
    """
    script = _asset("page.js")
    return Template(_asset("page.html")).substitute(
        title=html.escape(f"{report.model}: memory and accuracy"),
        summary=html.escape(_summary(report)),
        advice=_advice(report, model),
        baselines=_baselines(report),
        longer=_longer(report),
        layers=_layers(report),
        effects=_effects(report),
        unmeasured=_unmeasured(report),
        data=safe_json({"rows": report.rows, "tasks": report.tasks, "baselines": report.baselines}),
        style=_asset("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _asset(name: str) -> str:
    return (files("byoc.pareto") / "static" / name).read_text(encoding="utf-8")


def _summary(report: Report) -> str:
    tasks = ", ".join(f"{t['name']} ({t['items']} items)" for t in report.tasks)
    return (
        f"{len(report.rows)} configurations at a context of {report.context} tokens, {len(report.frontier)} on the "
        f"frontier. Loss is relative to {Configuration.from_dict(report.reference)}, the mean over: {tasks}. "
        "Intervals are 95%, from a paired bootstrap over items."
    )


def _advice(report: Report, model: str) -> str:
    items = []
    for row in report.frontier:
        command = Configuration.from_dict(row).command(model, report.context)
        loss, measured = row["loss"], row.get("resident")
        text = f"loss {loss['value']:.2f}% ({loss['low']:.2f} to {loss['high']:.2f})"
        if measured:
            text += f", prefill {measured['prefill_rate']:,.0f} and decode {measured['decode_rate']:,.0f} tokens/s"
        size = bytes_text(row["memory"]["total"])
        items.append(f"<li>For <b>{size}</b>: {text}<pre>{html.escape(command)}</pre></li>")
    return f"<ul>{''.join(items)}</ul>"


def _baselines(report: Report) -> str:
    head = ("", "weights", "cache", "activations", "scores", "total", *(f"saves of {n}" for n in report.baselines))
    parts = ("weights", "cache", "activations", "scores", "total")
    rows = [[f"float16, {name}", *(bytes_text(m[p]) for p in parts)] for name, m in report.baselines.items()]
    rows = [[*row, *("" for _ in report.baselines)] for row in rows]
    for row in report.frontier:
        memory = row["memory"]
        cells = [bytes_text(memory[p]) for p in parts]
        shares = [f"{100 * (1 - memory['total'] / m['total']):.0f}%" for m in report.baselines.values()]
        rows.append([str(Configuration.from_dict(row)), *cells, *shares])
    return _table(head, rows)


def _longer(report: Report) -> str:
    if not report.longer:
        return ""
    head = ("tokens", *(f"{entry['context']:,}" for entry in report.longer))
    rows = []
    for part, prefix in (("baselines", "float16, "), ("configurations", "")):
        for name in report.longer[0][part]:
            rows.append([prefix + name, *(bytes_text(entry[part][name]) for entry in report.longer)])
    return f"<h2>Longer contexts, modelled</h2>{_table(head, rows)}"


def _layers(report: Report) -> str:
    parts = []
    for entry in report.sensitivity:
        title = html.escape(f"Loss when one layer alone is kept as {entry['low']}")
        parts.append(f"<h2>{title}</h2>{_bars(entry['losses'])}")
    return "".join(parts)


def _effects(report: Report) -> str:
    if not report.effects:
        return ""
    rows = []
    for effect in report.effects:
        loss = effect["loss"]
        axis, both = effect["axis"], (effect["than"], effect["value"])
        shown = " → ".join("all at once" if (axis, v) == ("chunk", 0) else str(v) for v in both)
        change = f"{loss['value']:+.2f} ({loss['low']:+.2f} to {loss['high']:+.2f})"
        clear = "worse" if loss["low"] > 0 else "better" if loss["high"] < 0 else ""
        memory = f"{effect['memory'] / 1024:+,.0f} KiB"
        rows.append([f"{axis.replace('_', ' ')}: {shown}", change, clear, memory, str(effect["pairs"])])
    head = ("all else being equal", "points of loss, 95%", "", "memory", "pairs")
    return f"<h2>What a choice changes</h2>{_table(head, rows)}"


def _unmeasured(report: Report) -> str:
    lines = report.left_out_lines()
    lines += [f"{Configuration.from_dict(r)}: {r['error'].splitlines()[0]}" for r in report.refused]
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>Not measured</h2><ul>{items}</ul>" if items else ""


def _bars(losses: list[dict[str, Any]]) -> str:
    longest = max((abs(v["high"]) for v in losses), default=0.0) or 1.0
    rows = []
    for i, loss in enumerate(losses):
        y, width = i * 24, max(420 * loss["value"] / longest, 0)
        low, high = (80 + max(420 * loss[k] / longest, 0) for k in ("low", "high"))
        rows.append(
            f'<text x="70" y="{y + 16}" text-anchor="end">layer {i}</text>'
            f'<rect class="bar" x="80" y="{y + 4}" width="{width:.1f}" height="16"/>'
            f'<path class="whisker" d="M{low:.1f} {y + 12}H{high:.1f}"/>'
            f'<text x="{high + 8:.1f}" y="{y + 16}">{loss["value"]:.2f}%</text>'
        )
    height = 24 * len(losses) + 4
    return f'<svg width="600" height="{height}" viewBox="0 0 600 {height}" role="img">{"".join(rows)}</svg>'


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
