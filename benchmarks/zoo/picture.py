"""A picture of the ratios: one panel per setting, models below each other, one bar per runner."""

from __future__ import annotations

from pathlib import Path

from benchmarks.zoo.report import Report, ratios
from benchmarks.zoo.rounds import REFERENCE


def draw(report: Report, path: Path) -> None:
    """Write how many times faster than ONNX Runtime every runner is, as PNG or SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    settings = report.settings()
    figure, panels = pyplot.subplots(1, len(settings), figsize=(1 + 5 * len(settings), 7), squeeze=False)
    for (threads, batch), panel in zip(settings, panels[0], strict=True):
        rows = report.rows_of(threads, batch)
        models = list(dict.fromkeys(row.model for row in rows))
        runners = [r for r in dict.fromkeys(row.runner for row in rows) if r != REFERENCE]
        height = 0.8 / max(len(runners), 1)
        for index, runner in enumerate(runners):
            found = ratios(rows, runner, REFERENCE)
            places = [models.index(model) + index * height - 0.4 + height / 2 for model in found]
            panel.barh(places, list(found.values()), height, label=runner)
        panel.set_yticks(range(len(models)), models)
        panel.invert_yaxis()
        panel.axvline(1.0, color="black", linewidth=0.8)
        panel.set_xlabel("times as fast as ONNX Runtime")
        panel.set_title(f"{threads} thread{'s' * (threads > 1)}, batch {batch}")
        panel.legend(loc="lower right", fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
