"""The jamming diagram in pictures, against X_S: phi_J (of spheres under the limits of Furnas), K, the share of small
particles that carry; and for each size ratio the parts of K along both lines and the contacts by kind.

Lines and bars are means and standard deviations, dots single packings: next to X*_S there are two kinds of them, and
the mean is that of the larger kind. No line joins mixtures further apart than `mixtures.WIDEST`. Dashed: along the line
of second transitions; dotted beside it: K of the same and of joint packings where the contacts with small ones carry
one pressure, the quantity to compare them by. Grey: between the last X_S with the large ones alone and the first with
all of them, where X*_S is.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wavesim.granular.diagram import PRESSURE_SMALL, furnas
from wavesim.granular.meeting import meeting
from wavesim.mixtures import WIDEST
from wavesim.provenance import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    Rows = list[dict[str, Any]]

SHARED = (  # along the first transition, along the second
    ("phi_j", "phi_j2"),
    ("bulk_modulus", "bulk_modulus_2"),
    ("carrying_small", None),
)
PARTS = ("bulk_modulus", "LL", "LS", "SS")
CONTACTS = ("contacts_LL", "contacts_LS", "contacts_SL", "contacts_SS")
COLOURS = {"LL": "C4", "LS": "C5", "SL": "C8", "SS": "C6"}
CLOSE_PACKING = 0.64  # of equal spheres; Furnas' limits say nothing of disks, whose gaps are too small for others
FEWEST = 0.1  # contacts that are shown
ALONG = 2.1  # times the last X_S of a second transition, as far as the pictures along that line reach


def draw(rows: Rows, path: Path) -> None:
    """Draw the rows that `generate_diagram` gives.

    Raises:
        WavesimError: a full disk.
    """
    from matplotlib.figure import Figure

    ratios = list(dict.fromkeys(row["size_ratio"] for row in rows))
    columns = max(3, len(ratios))
    second = any(row.get("bulk_modulus_2") is not None for row in rows)
    figure = Figure(figsize=(3.6 * columns, 13.5 if second else 10.5), layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(1, 2.6 if second else 1.7))
    above, below = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    spheres = rows[0]["dim"] == 3
    modulus = "$K$ / ($k_n / d$)" if spheres else "$K$ / $k_n$"
    top = above.subplots(1, 3)
    if spheres:
        _limits(top[0], max(row.get("phi_j", 0) for row in rows))
    for colour, ratio in enumerate(ratios):
        own = [row for row in rows if row["size_ratio"] == ratio and row["packings"]]
        for axis, (first, further) in zip(top, SHARED, strict=True):
            _line(axis, own, first, "-o", f"C{colour}", f"size ratio {ratio:.2g}")
            if further:
                _line(axis, own, further, "--s", f"C{colour}")
            _dots(axis, own, first, f"C{colour}")
    if any(row.get("phi_j2") is not None for row in rows):
        top[0].plot([], [], "--s", color="gray", ms=3, lw=1, label="second transition")
    for axis, title in zip(top, (r"$\phi_J$", modulus, "share of small particles that carry"), strict=True):
        axis.set_ylabel(title)
    bottom = below.subplots(3 if second else 2, len(ratios), squeeze=False)
    for column, ratio in zip(bottom.T, ratios, strict=True):
        own = [row for row in rows if row["size_ratio"] == ratio and row["packings"]]
        column[0].set_title(f"size ratio {ratio:.2g}", fontsize=10)
        found = meeting(own)
        for axis in column[:-1]:
            if found is not None and found.upper is not None:
                axis.axvspan(found.lower, found.upper, color="0.9", label="$X^*_S$ is in it")
        _parts(column[0], own, "", "-o")
        if second:
            _along(column[1], own, f"{modulus} at the second transition")
        _contacts(column[-1], own)
    bottom[0, 0].set_ylabel(f"{modulus} and its parts")
    bottom[-1, 0].set_ylabel("contacts of a particle, by kind")
    for axis in (*top, *bottom[0], *bottom[-1]):
        axis.set_xlim(-0.03, 1.03)
        axis.set_xlabel("$X_S$")
    _legend(above)
    _legend(below)
    with whole_file(path) as part:
        figure.savefig(part, dpi=110)


def _legend(figure: SubFigure) -> None:
    """One for all pictures, above them, so that it covers nothing."""
    named = {
        label: handle
        for axis in figure.axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }  # fmt: skip
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=len(named), fontsize=9, frameon=False)


def _parts(axis: Axes, rows: Rows, line: str, style: str) -> None:
    """K and its parts along one of the lines, which names end with `line`; named in the legend where that is none."""
    for name in PARTS:
        kind = "$K$" if name == "bulk_modulus" else name
        _line(axis, rows, f"{name}{line}", style, COLOURS.get(name, "k"), None if line else kind)


def _along(axis: Axes, rows: Rows, title: str) -> None:
    """Along the second line: K and its parts in the last state with the small ones, and K at one of their pressures."""
    fractions = [row["small_fraction"] for row in rows if row.get("bulk_modulus_2") is not None]
    if not fractions:
        axis.text(0.5, 0.5, "no second transition", ha="center", va="center", transform=axis.transAxes, color="gray")
        axis.set_axis_off()
        return
    _parts(axis, rows, "_2", "--s")
    near = [row for row in rows if row["small_fraction"] <= ALONG * max(fractions)]
    label = f"$K$ where contacts with small ones carry a pressure of {PRESSURE_SMALL:g}"
    _line(axis, near, "bulk_modulus_path", ":^", "0.5", label)
    axis.set(xlim=(0, ALONG * max(fractions)), xlabel="$X_S$", ylabel=title)


def _contacts(axis: Axes, rows: Rows) -> None:
    """On a logarithmic scale: of a large one with small ones there are from none, which it leaves out, to hundreds."""
    most = max([1.0, *(row.get(name) or 0 for row in rows for name in CONTACTS)])
    axis.set_yscale("log", nonpositive="mask")
    ticks = [0.1, 0.3, 1, 3, 10, 30, 100]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_yticks([], minor=True)
    axis.set_ylim(FEWEST, 2 * most)
    for name in CONTACTS:
        kind = name.removeprefix("contacts_")
        _line(axis, [row for row in rows if (row.get(name) or 0) >= FEWEST], name, "-o", COLOURS[kind], kind)


def _limits(axis: Axes, highest: float) -> None:
    fraction = np.linspace(0, 1, 400)
    for branch, label in zip(furnas(fraction, CLOSE_PACKING), ("Furnas' limits", None), strict=True):
        axis.plot(fraction, branch, "k:", lw=1, label=label)
    axis.set_ylim(CLOSE_PACKING - 0.02, max(0.9, highest + 0.02))


def _line(axis: Axes, rows: Rows, name: str, style: str, colour: str, label: str | None = None) -> None:
    """Means with their deviations, where there are any; broken where nothing was measured for long."""
    there = [row for row in rows if row.get(name) is not None]
    if there:
        points = [(row["small_fraction"], row[name], row[f"{name}_deviation"] or 0.0) for row in there]
        gaps = [k + 1 for k, (one, other) in enumerate(pairwise(points)) if other[0] - one[0] > WIDEST * (1 + 1e-9)]
        x, mean, spread = np.insert(np.array(points), gaps, np.nan, axis=0).T
        axis.errorbar(x, mean, spread, fmt=style, color=colour, ms=3, lw=1, capsize=2, label=label)


def _dots(axis: Axes, rows: Rows, name: str, colour: str) -> None:
    """Single packings of mixtures of which there are two kinds."""
    for row in rows:
        if row["others"]:
            values = [value for value in row["each"][name] if value is not None]
            axis.plot([row["small_fraction"]] * len(values), values, ".", color=colour, ms=5, alpha=0.6)
