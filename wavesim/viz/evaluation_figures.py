"""The figures of an evaluation, from its results alone: errors with their floors, wavenumber bands, what was heard, and
the bounds on errors that need no truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.metrics import BANDS
from wavesim.viz import figures, style

FLOORS = {"truth": "floor: the truth's own error", "grid": "floor: what the grid cannot hold"}


def draw_evaluation(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write errors.png, bands.png and receiver.png into a folder, and coverage.png where a forecaster has a band."""
    interval, length = results["frame_interval"], results["frame_interval"] * results["frames"]
    curves = {row["name"]: np.array(row["errors"]) for row in results["rows"] if row["kind"] not in ("fe", "truth")}
    horizons = {
        row["name"]: min(row["correlation_time"], length) for row in _moving(results) if row["kind"] == "forecaster"
    }
    floors = {FLOORS[name]: np.array(floor) for name, floor in results["floors"].items() if name in FLOORS}
    bounded = {row["name"]: row["band"] for row in results["rows"] if row.get("band")}
    return [
        figures.error_curves(folder / "errors.png", curves, interval, horizons=horizons, floors=floors),
        draw_bands(folder / "bands.png", results),
        draw_receiver(folder / "receiver.png", results),
        *([coverage(folder / "coverage.png", bounded, interval)] if bounded else []),
    ]


def draw_bands(path: Path, results: Mapping[str, Any]) -> Path:
    """The bands of an evaluation's forecasters and of the coarse step."""
    curves = {row["name"]: np.array([row["curves"][band] for band in BANDS]) for row in _moving(results)}
    return bands(path, curves, results["frame_interval"], results["band_limits"])


def draw_receiver(path: Path, results: Mapping[str, Any]) -> Path:
    """What the first receiver of an evaluation hears of its first trajectory."""
    heard = results["traces"]
    forecasts = {row["name"]: np.array(heard["forecasts"][row["name"]]) for row in _moving(results)}
    x, y = heard["place"]
    title = f"the receiver at ({x:g}, {y:g}) of the sides, {heard['trajectory']}"
    return receiver(path, np.array(heard["truth"]), forecasts, results["frame_interval"], title)


def _moving(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in results["rows"] if row["kind"] in ("coarse", "forecaster")]


def bands(path: str | Path, curves: Mapping[str, np.ndarray], frame_interval: float, limits: list[float]) -> Path:
    """Errors of long, middle and short waves against time, side by side on one logarithmic scale.

    Args:
        curves: name -> (band, time), the first frame being one interval after the initial state.
        limits: wavelengths between the bands, in cells.
    """
    longer, shorter = limits
    titles = (f"longer than {longer:g} cells", f"{longer:g} to {shorter:g} cells", f"shorter than {shorter:g} cells")
    figure = style.blank(10.0, 3.7)
    panels, colours = figure.subplots(1, 3, sharey=True), style.colours_of(curves)
    for axis, title, of_band in zip(panels, titles, zip(*curves.values(), strict=True), strict=True):
        style.tidy(axis, "time in crossings", "" if axis is not panels[0] else "error over |truth|", title)
        for name, errors in zip(curves, of_band, strict=True):
            time = frame_interval * np.arange(1, len(errors) + 1)
            axis.plot(time, errors, color=colours[name], linewidth=1.7, label=name)
        axis.set(yscale="log", xlim=(0, None))
    style.decimal(panels[0].yaxis)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=6, frameon=False, fontsize=9, labelcolor=style.INK)
    return style.write(figure, path)


def receiver(
    path: str | Path, truth: np.ndarray, forecasts: Mapping[str, np.ndarray], frame_interval: float, title: str
) -> Path:
    """What one receiver hears of truth and forecasts (time,), the initial state included; their differences below."""
    time = frame_interval * np.arange(len(truth))
    figure = style.blank(9.0, 5.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    style.tidy(top, y="pressure", title=title)
    style.tidy(bottom, "time in crossings of the domain", "forecast - truth")
    top.plot(time, truth, color=style.INK, linewidth=4.0, alpha=0.25, label="FE truth")
    for name, colour in style.colours_of(forecasts).items():
        top.plot(time, forecasts[name], color=colour, linewidth=1.3, label=name)
        bottom.plot(time, forecasts[name] - truth, color=colour, linewidth=1.3)
    bottom.axhline(0, color=style.MUTED, linewidth=0.8)
    top.set_xlim(0, time[-1])
    handles, names = top.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=6, frameon=False, fontsize=9, labelcolor=style.INK)
    return style.write(figure, path)


def coverage(path: str | Path, bands: Mapping[str, Mapping[str, Any]], frame_interval: float) -> Path:
    """The mean bound of each forecaster over its mean error, and beside it how often the bound held, against time.

    Args:
        bands: name -> what `coverage.summary` tells; where there is no coverage, the right panel is without it.
    """
    figure = style.blank(10.0, 3.9)
    (left, right), colours = figure.subplots(1, 2), style.colours_of(bands)
    style.tidy(left, "time in crossings", "relative L2", "mean error (thin) and mean bound (thick)")
    style.tidy(right, "time in crossings", "share of media", "errors within the bound, with intervals of 95 %")
    for name, band in bands.items():
        time = frame_interval * np.arange(1, len(band["bound"]) + 1)
        left.plot(time, band["error"], color=colours[name], linewidth=1.1)
        left.plot(time, band["bound"], color=colours[name], linewidth=2.2, label=f"{name}, {band['level']:.0%}")
        if band["coverage"] is not None:
            low, high = np.transpose(band["interval"])
            right.fill_between(time, low, high, color=colours[name], alpha=0.16, linewidth=0)
            right.plot(time, band["coverage"], color=colours[name], linewidth=1.7)
    for level in {band["level"] for band in bands.values()}:
        right.axhline(level, color=style.INK, linewidth=1.0, linestyle=(0, (5, 2)))
    left.set(yscale="log", xlim=(0, None))
    right.set(xlim=(0, None), ylim=(None, 1.005))
    style.decimal(left.yaxis)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=6, frameon=False, fontsize=9, labelcolor=style.INK)
    return style.write(figure, path)
