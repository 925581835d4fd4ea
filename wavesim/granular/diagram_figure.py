"""The jamming diagram in pictures: phi_J under the limits of Furnas, K, its parts, and who carries, against X_S."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wavesim.granular.diagram import furnas
from wavesim.provenance import whole_file

STYLES = ("-o", "--s", ":^")
CLOSE_PACKING = {2: 0.842, 3: 0.64}  # of disks 1 : 1.4 (equal ones order) and of equal spheres


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows that `generate_diagram` gives; where there are several seeds, with standard deviations.

    Raises:
        WavesimError: a full disk.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    fraction = np.linspace(0, 1, 400)
    large_branch, small_branch = furnas(fraction, CLOSE_PACKING[rows[0]["dim"]])
    axes[0, 0].plot(fraction, np.minimum(large_branch, small_branch), "k:", label="Furnas", linewidth=1)
    for colour, ratio in enumerate(dict.fromkeys(row["size_ratio"] for row in rows)):
        own = [row for row in rows if row["size_ratio"] == ratio and row["packings"]]
        x = np.array([row["small_fraction"] for row in own])
        for axis, names in (
            (axes[0, 0], ("phi_j",)),
            (axes[0, 1], ("bulk_modulus",)),
            (axes[1, 0], ("LL", "LS", "SS")),
            (axes[1, 1], ("carrying_small",)),
        ):
            for name, style in zip(names, STYLES, strict=False):
                there = [k for k, row in enumerate(own) if name in row]
                mean = [own[k][name] for k in there]
                spread = [own[k][f"{name}_deviation"] or 0.0 for k in there]
                label = f"size ratio {ratio:.2g}" if len(names) == 1 else None
                axis.errorbar(x[there], mean, spread, fmt=style, color=f"C{colour}", ms=3, lw=1, capsize=2, label=label)
    for name, style in zip(("LL", "LS", "SS"), STYLES, strict=True):  # colours are those of the other panels
        axes[1, 0].plot([], [], style, color="gray", ms=3, lw=1, label=name)
    for axis, name in zip(
        axes.ravel(),
        ("phi_J", "K  (k_n / d^(D-2))", "parts of K  (k_n / d^(D-2))", "small particles that carry"),
        strict=True,
    ):
        axis.set_ylabel(name)
        axis.legend(fontsize=7)
    for axis in axes[1]:
        axis.set_xlabel("X_S")
    axes[0, 0].set_ylim(CLOSE_PACKING[rows[0]["dim"]] - 0.05, None)
    with whole_file(path) as part:
        figure.savefig(part, dpi=130)
