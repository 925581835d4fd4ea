"""The figures of pareto.py: error after one crossing against milliseconds a simulated crossing, a panel a scenario.

OUT/pareto.png has the three contrasts, OUT/pareto_others.png what one thing was changed in. Squares of one colour a
family are solvers, and a solid line is their front; circles are forecasters, hollow where they were trained on
others, and a dashed line is their front: named are those on it, and those that were trained there. In the shade no
error is claimed. A batch is as dear as its simulations one by one where that is cheaper. Errors at half a crossing are
in the tables alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from pareto_panels import Lines, Panel, Row, front, panels, trained_there

FAMILIES = {
    "volumes": ("C2", "coarse step (finite volumes)"),
    "tensor": ("C8", "the same with a tensor in each cell"),
    "effective": ("C4", "one effective medium"),
    "raster": ("C0", "grid, averages over control cells"),
    "upscaled": ("C9", "grid, static problems upscaled"),
    "conforming": ("0.25", "elements that follow the grains"),
}
FORECASTER = "C3"


def draw(lines: Lines, out: Path, several: int) -> None:
    """Write the figures of what has been begun."""
    found = panels(lines)
    for name, main in (("pareto", True), ("pareto_others", False)):
        own = [panel for panel in found if panel.scenario.main == main and any(row.cost() > 0 for row in panel.rows)]
        if own:
            _draw(own, out / f"{name}.png", several)


def _draw(found: Sequence[Panel], path: Path, several: int) -> None:
    figure = Figure(figsize=(max(9.0, 4.8 * len(found)), 9.0), layout="constrained")
    axes = figure.subplots(2, len(found), sharey=True, squeeze=False)
    errors = [row.one for panel in found for row in panel.rows if np.isfinite(row.one)]
    limits = min(*(panel.truth[1] for panel in found), *errors) / 1.5, min(2 * max(errors), 20.0)
    for line, batch in zip(axes, (1, several), strict=True):
        for axis, panel in zip(line, found, strict=True):
            axis.set_ylim(limits)  # one for all, since they share the axis
            _panel(axis, panel, batch)
            how = "one simulation" if batch == 1 else f"{batch} at once or one by one"
            axis.set_title(f"{panel.scenario.name}, {how}")
        line[0].set_ylabel("relative L2 of pressure after one crossing")
    for axis in axes[-1]:
        axis.set_xlabel("milliseconds a simulated crossing, one thread")
    figure.legend(handles=_marks(found), loc="outside lower center", ncols=4 if len(found) > 2 else 3, frameon=False)
    figure.savefig(path, dpi=130)


def _panel(axis: Axes, panel: Panel, batch: int) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    for row in panel.rows:
        if row.cost(batch) > 0 and not row.forecasts:
            axis.plot(row.cost(batch), row.one, "s", ms=5, color=FAMILIES[row.run["family"]][0], alpha=0.75, mew=0)
        elif row.name == "persistence":
            axis.axhline(row.one, color="0.6", ls=":", lw=1)
    best: list[Row] = []
    for forecasts, colour, style in ((False, "0.1", "-"), (True, FORECASTER, "--")):
        best = front([row for row in panel.rows if row.forecasts == forecasts], panel, batch)
        axis.plot([row.cost(batch) for row in best], [row.one for row in best], style, color=colour, lw=1.3, zorder=1)
    forecasters = [row for row in panel.rows if row.forecasts and row.cost(batch) > 0]
    own = [row for row in forecasters if trained_there(row.run["trained"], panel.scenario)]
    for row in forecasters:
        colour = FORECASTER if row in own else "white"
        axis.plot(row.cost(batch), row.one, "o", ms=8, mec=FORECASTER, mfc=colour, mew=1.5)
    _named(axis, [row for row in forecasters if row in own or row in best], batch)
    axis.axhspan(1e-9, panel.floor, color="0.9", zorder=0)
    axis.axhline(panel.truth[1], color="0.5", lw=1, ls="-.")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.grid(alpha=0.25, lw=0.5)


def _named(axis: Axes, rows: Sequence[Row], batch: int) -> None:
    """Names: of fast forecasters, in the left third, beside them; of the others above and below in turn."""
    left, right = axis.get_xlim()
    fast = [row for row in rows if row.cost(batch) < left ** (2 / 3) * right ** (1 / 3)]
    for some, beside in ((fast, True), ([row for row in rows if row not in fast], False)):
        for number, row in enumerate(sorted(some, key=lambda row: row.one)):
            above = number % 2 == 1 and row.one < 1
            place = {"ha": "left" if beside else "center", "va": "bottom" if above else "top"}
            offset = (7, 1) if beside else (0, 9)
            text = axis.annotate(
                row.name.replace("/", "/\n"),
                (row.cost(batch), row.one),
                (offset[0], offset[1] if above else -offset[1]),
                textcoords="offset points",
                fontsize=8,
                **place,
            )
            text.set(color=FORECASTER, path_effects=[withStroke(linewidth=2.5, foreground="white")])


def _marks(found: Sequence[Panel]) -> list[Line2D]:
    """The legend, of what there is."""
    there = {row.run["family"] for panel in found for row in panel.rows if not row.forecasts}
    marks = [
        Line2D([], [], marker="s", ls="", color=colour, label=words)
        for family, (colour, words) in FAMILIES.items()
        if family in there
    ]
    marks.append(Line2D([], [], color="0.1", label="front of the solvers"))
    if any(row.forecasts for panel in found for row in panel.rows):
        marks.append(Line2D([], [], color=FORECASTER, ls="--", marker="o", label="forecasters and their front"))
        marks.append(Line2D([], [], marker="o", ls="", mec=FORECASTER, mfc="white", label="trained on others"))
    marks.append(Line2D([], [], color="0.6", ls=":", label="persistence"))
    return [*marks, Line2D([], [], color="0.5", ls="-.", label="the truth's own error; shade: not claimed")]
