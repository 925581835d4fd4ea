"""The figures of the README, the notebooks and the results folder: each function writes one PNG and returns its path.

Curves, fields and tables come in as plain arrays and dictionaries, so that a figure can be drawn from any run. Fields
are (time, y, x) pressures on the unit square, y up and x to the right, all on one colour scale per figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wavesim import metrics
from wavesim.errors import WavesimError
from wavesim.viz import style
from wavesim.viz.animation import animate
from wavesim.viz.packing_figure import packings

__all__ = ["animate", "error_curves", "fields", "packings", "pareto", "pruning_rounds", "training_curves"]

Row = Mapping[str, Any]


def error_curves(
    path: str | Path,
    curves: Mapping[str, np.ndarray],
    frame_interval: float,
    ylabel: str = "relative L2",
    horizons: Mapping[str, float] | None = None,
    floors: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Error against time: the median over the trajectories in the band of its quartiles, logarithmic.

    Args:
        curves: name -> (trajectory, time), the first column being one frame after the initial state.
        frame_interval: time between two frames, in crossings.
        horizons: name -> time until which the forecast correlates with the truth, marked by a tick on its curve.
        floors: name -> (time,) what errors are held against, as broken lines.
    """
    figure = style.blank(7.2, 4.2)
    axis = style.tidy(figure.subplots(), "time in crossings of the domain", ylabel)
    colours = style.colours_of(curves)
    for name, errors in curves.items():
        errors = np.atleast_2d(errors)
        time = frame_interval * np.arange(1, errors.shape[1] + 1)
        low, median, high = np.quantile(errors, [0.25, 0.5, 0.75], axis=0)
        colour = colours[name]
        axis.fill_between(time, low, high, color=colour, alpha=0.16, linewidth=0)
        label = name
        if horizons and name in horizons:
            label = f"{name} (useful for {horizons[name]:.2f})"
            marker = np.interp(horizons[name], time, median)
            axis.plot(horizons[name], marker, "o", color="white", markeredgecolor=colour, markeredgewidth=1.6, zorder=4)
        axis.plot(time, median, color=colour, linewidth=1.9, label=label)
    for (name, floor), dashes in zip((floors or {}).items(), ((5, 2), (1, 1.5)), strict=False):
        time = frame_interval * np.arange(1, len(floor) + 1)
        axis.plot(time, floor, color=style.INK, linewidth=1.2, linestyle=(0, dashes), label=name)
    axis.set_yscale("log")
    axis.set_xlim(0, None)
    style.decimal(axis.yaxis)
    if floors:  # more lines than there is room for inside
        style.legend(axis, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    else:
        style.legend(axis, loc="lower right")
    return style.write(figure, path)


def fields(
    path: str | Path,
    truth: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    medium: np.ndarray,
    frames: Sequence[int],
    frame_interval: float,
) -> Path:
    """Truth, forecasts and their errors side by side, one row for each of `frames`, on one colour scale.

    Errors too small for that scale are magnified, all by the one factor that stands in their titles.

    Args:
        truth: (time, y, x) pressure; forecasts: name -> (time, y, x); medium: (2, y, x).
    Raises:
        WavesimError: a frame that the truth or a forecast does not have.
    """
    shortest = min([len(truth), *(len(forecast) for forecast in forecasts.values())])
    if not frames or max(frames) >= shortest:
        raise WavesimError(f"frames {list(frames)} are not all within the {shortest} frames that every field has")
    grains = style.grain_share(medium)
    limit = style.pressure_limit(truth[list(frames)])
    chosen = list(frames)
    errors = {name: forecast[chosen] - truth[chosen] for name, forecast in forecasts.items()}
    factor = style.magnification(np.stack(list(errors.values())), limit) if errors else 1
    columns = 1 + 2 * len(forecasts)
    figure = style.blank(2.25 * columns + 1.1, 2.25 * len(frames) + 0.35)
    axes = figure.subplots(len(frames), columns, squeeze=False)
    for i, (row, frame) in enumerate(zip(axes, frames, strict=True)):
        panels: list[tuple[str, np.ndarray, str]] = [("FE truth", truth[frame], "")]
        for name, forecast in forecasts.items():
            size = float(metrics.relative_l2(forecast[frame], truth[frame]))
            error = (style.error_title(factor, name), factor * errors[name][i], f"{100 * size:.3g} %")
            panels += [(name, forecast[frame], ""), error]
        for axis, (title, field, note) in zip(row, panels, strict=True):
            style.field_panel(axis, "" if i else title)
            _show(axis, field, limit, grains)
            if note:
                axis.text(0.035, 0.96, note, va="top", color=style.INK, fontsize=9, bbox=_NOTE)
        row[0].set_ylabel(f"t = {frame * frame_interval:.2f}", color=style.INK, fontsize=10)
    style.pressure_bar(figure, axes.ravel(), limit)
    return style.write(figure, path)


_NOTE = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


def _show(axis: Axes, field: np.ndarray, limit: float, grains: np.ndarray) -> None:
    colours = style.paint(field, limit, grains)
    axis.imshow(colours, origin="lower", extent=(0, 1, 0, 1), interpolation="bilinear")
    style.outline(axis, grains)


def pruning_rounds(path: str | Path, rounds: Sequence[Row]) -> Path:
    """PQ index and validation error against the round of pruning, with the parameters that remain under each.

    Args:
        rounds: dictionaries with round, pq_index (mean over layers), parameters, validation_error.
    """
    number = [row["round"] for row in rounds]
    figure = style.blank(6.4, 5.2)
    top, bottom = figure.subplots(2, 1, sharex=True)
    style.tidy(top, y="PQ index, mean over layers")
    style.tidy(bottom, "round of pruning, and the parameters that remain", "validation error")
    top.plot(number, [row["pq_index"] for row in rounds], "o-", color=style.PALETTE[0], linewidth=1.8)
    bottom.plot(number, [row["validation_error"] for row in rounds], "o-", color=style.PALETTE[1], linewidth=1.8)
    bottom.set_xticks(number, [f"{row['round']}\n{row['parameters']:,}" for row in rounds])
    for axis in (top, bottom):
        axis.margins(y=0.12)
    return style.write(figure, path)


def training_curves(path: str | Path, histories: Mapping[str, Sequence[Row]]) -> Path:
    """Training loss and validation error against the optimiser's iteration, both logarithmic.

    A hairline stands at the first validation of each unroll length, where the histories tell it.

    Args:
        histories: name -> dictionaries with iteration, loss, validation_error; a row may lack either value. And unroll,
            the frames of the rollouts at that iteration, in all rows or in none.
    """
    figure = style.blank(9.0, 3.8)
    panels = figure.subplots(1, 2)
    for axis, key, label in zip(
        panels, ("loss", "validation_error"), ("training loss", "validation error"), strict=True
    ):
        style.tidy(axis, "iteration", label)
        for i, (name, rows) in enumerate(histories.items()):
            points = [(row["iteration"], row[key]) for row in rows if row.get(key) is not None]
            axis.plot(
                *np.array(points).reshape(-1, 2).T, "o-", markersize=3.5, color=style.colour_of(name, i), label=name
            )
        axis.set(yscale="log", xlim=(0, None))
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=(1, 2, 5, 10)))
        style.decimal(axis.yaxis)
        _mark_unrolls(axis, histories.values())
    style.legend(panels[1], loc="best")
    return style.write(figure, path)


def _mark_unrolls(axis: Axes, histories: Iterable[Sequence[Row]]) -> None:
    """A hairline with its unroll above the axis, where that is not the row before's; the first says what it is."""
    marks = {
        (row["iteration"], row["unroll"])
        for rows in histories
        for before, row in pairwise(({}, *rows))
        if row.get("unroll") != before.get("unroll")
    }
    for number, (iteration, unroll) in enumerate(sorted(marks)):
        axis.axvline(iteration, color=style.MUTED, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
        axis.annotate(
            str(unroll) if number else f"unroll {unroll}",
            (iteration, 1.0),
            xycoords=axis.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=style.MUTED,
        )


_KINDS = {  # kind -> (label, colour, marker)
    "forecaster": ("forecasters", style.PALETTE[1], "o"),
    "coarse": ("coarse step alone", style.PALETTE[3], "D"),
    "fe": ("finite elements, ever finer", style.INK, "s"),
    "persistence": ("persistence: nothing moves", style.MUTED, ""),
}


def pareto(path: str | Path, rows: Sequence[Row], ylabel: str = "relative L2") -> Path:
    """Error against milliseconds a frame, both logarithmic: what a forecast buys beside finite elements of equal error.

    Args:
        rows: dictionaries with name, kind (forecaster, coarse, fe, truth, persistence), milliseconds, error. The
            truth is the last of the finite-element ladder where it has an error of its own, and is left out where not;
            so is what was not timed.
    Raises:
        WavesimError: a kind that is none of these.
    """
    rows = [{**row, "kind": "fe"} if row["kind"] == "truth" else row for row in rows if row["error"] > 0]
    rows = [row for row in rows if row["milliseconds"] or row["kind"] == "persistence"]
    unknown = sorted({row["kind"] for row in rows} - set(_KINDS))
    if unknown:
        raise WavesimError(f"kind '{unknown[0]}' is not one of {', '.join(_KINDS)}, truth")
    figure = style.blank(7.2, 4.8)
    axis = style.tidy(figure.subplots(), "milliseconds a frame", ylabel)
    for kind, (label, colour, marker) in _KINDS.items():
        chosen = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["milliseconds"] or 0.0)
        if not chosen:
            continue
        if kind == "persistence":
            axis.axhline(chosen[0]["error"], color=colour, linestyle=(0, (4, 3)), linewidth=1.2, label=label)
            continue
        points = np.array([(row["milliseconds"], row["error"]) for row in chosen]).T
        line = "-" if kind == "fe" else ""
        axis.plot(*points, line + marker, color=colour, linewidth=1.4, markersize=7, label=label)
    axis.set(xscale="log", yscale="log")
    axis.margins(0.16)
    style.decimal(axis.xaxis)
    style.decimal(axis.yaxis)
    style.legend(axis, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    _name_points(axis, [row for row in rows if row["kind"] != "persistence"])
    return style.write(figure, path)


_PLACES = (
    (9, 0, "left", "center"),
    (6, 6, "left", "bottom"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (-6, -6, "right", "top"),
    (-9, 0, "right", "center"),
)


def _name_points(axis: Axes, rows: Sequence[Row]) -> None:
    """Write each row's name beside its point, at the first place where it hides no point and no other name."""
    axis.figure.draw_without_rendering()  # type: ignore[union-attr]
    frame = axis.get_window_extent()
    points = axis.transData.transform([(row["milliseconds"], row["error"]) for row in rows])
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    for line in axis.lines:
        x, y = axis.transData.transform(line.get_xydata()).T
        if line.get_linestyle() == "-" and len(x) > 1:  # names keep off the joined points' line as well
            along = np.linspace(0, len(x) - 1, 40 * len(x))
            taken += [
                (a, b, a, b) for a, b in zip(*(np.interp(along, np.arange(len(x)), c) for c in (x, y)), strict=True)
            ]
    for row in rows:
        for dx, dy, ha, va in (*_PLACES, _PLACES[0]):  # crowded everywhere: right of the point is the least bad
            name = axis.annotate(
                row["name"],
                (row["milliseconds"], row["error"]),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=8.5,
                color=style.INK,
            )
            name.set_in_layout(False)
            box = name.get_window_extent()
            free = all(box.x1 < t[0] or box.x0 > t[2] or box.y1 < t[1] or box.y0 > t[3] for t in taken)
            if free and frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1:
                break
            name.remove()
        else:
            axis.add_artist(name)
        taken.append((box.x0, box.y0, box.x1, box.y1))
