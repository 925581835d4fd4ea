"""The jamming diagram in pictures: phi_J under the limits of Furnas, K, its parts, who carries, and contacts by kind,
against X_S; dashed, both along the line of second transitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wavesim.granular.diagram import furnas
from wavesim.provenance import whole_file

STYLES = ("-o", "--s", ":^", "-.v")
CLOSE_PACKING = {2: 0.842, 3: 0.64}  # of disks 1 : 1.4 (equal ones order) and of equal spheres


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows that `generate_diagram` gives; where there are several seeds, with standard deviations.

    Raises:
        WavesimError: a full disk.
    """
    from matplotlib.figure import Figure

    panels = (
        ("phi_J", ("phi_j", "phi_j2")),
        ("K  (k_n / d^(D-2))", ("bulk_modulus", "bulk_modulus_2")),
        ("small particles that carry", ("carrying_small",)),
        ("parts of K  (k_n / d^(D-2))", ("LL", "LS", "SS")),
        ("contacts of a particle, by kind", ("contacts_LL", "contacts_LS", "contacts_SL", "contacts_SS")),
    )
    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True).ravel()
    for axis in axes:
        axis.tick_params(labelbottom=True)
    fraction = np.linspace(0, 1, 400)
    large_branch, small_branch = furnas(fraction, CLOSE_PACKING[rows[0]["dim"]])
    axes[0].plot(fraction, np.minimum(large_branch, small_branch), "k:", label="Furnas", linewidth=1)
    for colour, ratio in enumerate(dict.fromkeys(row["size_ratio"] for row in rows)):
        own = [row for row in rows if row["size_ratio"] == ratio and row["packings"]]
        x = np.array([row["small_fraction"] for row in own])
        for axis, (_, names) in zip(axes, panels, strict=False):
            for name, style in zip(names, STYLES, strict=False):
                there = [k for k, row in enumerate(own) if row.get(name) is not None]
                mean = [own[k][name] for k in there]
                spread = [own[k][f"{name}_deviation"] or 0.0 for k in there]
                label = f"size ratio {ratio:.2g}" if name == names[0] and len(names) < 3 else None
                axis.errorbar(x[there], mean, spread, fmt=style, color=f"C{colour}", ms=3, lw=1, capsize=2, label=label)
    for axis, (title, names) in zip(axes, panels, strict=False):
        if len(names) > 2:  # colours are those of the other panels
            for name, style in zip(names, STYLES, strict=False):
                axis.plot([], [], style, color="gray", ms=3, lw=1, label=name.removeprefix("contacts_"))
        elif len(names) == 2 and any(row.get(names[1]) is not None for row in rows):
            axis.plot([], [], STYLES[1], color="gray", ms=3, lw=1, label="second transition")
        axis.set_ylabel(title)
        axis.set_xlabel("X_S")
        axis.legend(fontsize=7)
    axes[0].set_ylim(CLOSE_PACKING[rows[0]["dim"]] - 0.05, None)
    axes[4].set_yscale("symlog", linthresh=1)  # of a large one with small ones there are from none to a hundred
    axes[4].set_ylim(0, None)
    axes[-1].set_axis_off()
    with whole_file(path) as part:
        figure.savefig(part, dpi=130)
