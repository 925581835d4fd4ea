"""The jamming diagram in pictures, against X_S: phi_J under the limits of Furnas, K, the share of small particles that
carry; and for each size ratio the parts of K and the contacts by kind. Dashed: along the line of second transitions.

Lines and bars are means and standard deviations, dots single packings: next to X*_S there are two kinds of them, and
the mean is that of the larger kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wavesim.granular.diagram import furnas
from wavesim.provenance import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Rows = list[dict[str, Any]]

SHARED = (  # title, along the first transition, along the second
    ("phi_J", "phi_j", "phi_j2"),
    ("K  (k_n / d^(D-2))", "bulk_modulus", "bulk_modulus_2"),
    ("small particles that carry", "carrying_small", None),
)
PARTS = ("bulk_modulus", "LL", "LS", "SS")
CONTACTS = ("contacts_LL", "contacts_LS", "contacts_SL", "contacts_SS")
COLOURS = {"LL": "C4", "LS": "C5", "SL": "C8", "SS": "C6"}
CLOSE_PACKING = {2: 0.842, 3: 0.64}  # of disks 1 : 1.4 (equal ones order) and of equal spheres


def draw(rows: Rows, path: Path) -> None:
    """Draw the rows that `generate_diagram` gives.

    Raises:
        WavesimError: a full disk.
    """
    from matplotlib.figure import Figure

    ratios = list(dict.fromkeys(row["size_ratio"] for row in rows))
    columns = max(3, len(ratios))
    figure = Figure(figsize=(3.6 * columns, 10), layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(1, 1.7))
    above, below = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    top = above.subplots(1, 3)
    _limits(top[0], CLOSE_PACKING[rows[0]["dim"]], max(row.get("phi_j", 0) for row in rows))
    for colour, ratio in enumerate(ratios):
        own = [row for row in rows if row["size_ratio"] == ratio and row["packings"]]
        for axis, (_, first, second) in zip(top, SHARED, strict=True):
            _line(axis, own, first, "-o", f"C{colour}", f"size ratio {ratio:.2g}")
            if second:
                _line(axis, own, second, "--s", f"C{colour}")
            _dots(axis, own, first, f"C{colour}")
    for axis, (title, _, second) in zip(top, SHARED, strict=True):
        if second and any(row.get(second) is not None for row in rows):
            axis.plot([], [], "--s", color="gray", ms=3, lw=1, label="second transition")
        axis.set_ylabel(title)
        axis.legend(fontsize=7)
    bottom = below.subplots(2, len(ratios), sharex=True, squeeze=False)
    for k, ratio in enumerate(ratios):
        own = [row for row in rows if row["size_ratio"] == ratio and row["packings"]]
        for name in PARTS:
            shade = "k" if name == "bulk_modulus" else COLOURS[name]
            _line(bottom[0, k], own, name, "-o", shade, "K" if name == "bulk_modulus" else name)
            _line(bottom[0, k], own, f"{name}_2", "--s", shade)
        for name in CONTACTS:
            kind = name.removeprefix("contacts_")
            _line(bottom[1, k], own, name, "-o", COLOURS[kind], kind)
        bottom[0, k].set_title(f"size ratio {ratio:.2g}", fontsize=10)
        bottom[1, k].set_yscale("symlog", linthresh=1)  # of a large one with small ones there are from none to hundreds
        bottom[1, k].set_yticks([0, 0.5, 1, 3, 10, 30, 100], [0, 0.5, 1, 3, 10, 30, 100])
        bottom[1, k].set_ylim(0, 1.2 * max([1, *(row.get(name) or 0 for row in own for name in CONTACTS)]))
    bottom[0, 0].set_ylabel("parts of K  (k_n / d^(D-2))")
    bottom[1, 0].set_ylabel("contacts of a particle, by kind")
    for axis in (bottom[0, 0], bottom[1, 0]):
        axis.legend(fontsize=7)
    for axis in (*top, *bottom[1]):
        axis.set_xlabel("X_S")
        axis.set_xlim(-0.03, 1.03)
    with whole_file(path) as part:
        figure.savefig(part, dpi=110)


def _limits(axis: Axes, close_packing: float, highest: float) -> None:
    fraction = np.linspace(0, 1, 400)
    for branch, label in zip(furnas(fraction, close_packing), ("Furnas' limits", None), strict=True):
        axis.plot(fraction, branch, "k:", lw=1, label=label)
    axis.set_ylim(close_packing - 0.02, max(0.9, highest + 0.02))


def _line(axis: Axes, rows: Rows, name: str, style: str, colour: str, label: str | None = None) -> None:
    """Means with their deviations, where there are any."""
    there = [row for row in rows if row.get(name) is not None]
    x, mean = [row["small_fraction"] for row in there], [row[name] for row in there]
    spread = [row[f"{name}_deviation"] or 0.0 for row in there]
    if there:
        axis.errorbar(x, mean, spread, fmt=style, color=colour, ms=3, lw=1, capsize=2, label=label)


def _dots(axis: Axes, rows: Rows, name: str, colour: str) -> None:
    """Single packings of mixtures of which there are two kinds."""
    for row in rows:
        if row["others"]:
            values = [value for value in row["each"][name] if value is not None]
            axis.plot([row["small_fraction"]] * len(values), values, ".", color=colour, ms=5, alpha=0.6)
