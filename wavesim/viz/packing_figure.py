"""Jammed packings: disks by species, contacts as force chains, rattlers hollow, in their periodic box.

The force in a contact of linear-spring disks is k_n times the overlap, so a contact's line is as wide as its overlap
over the packing's mean one. A rattler has fewer than D + 1 contacts, counted again after other rattlers are removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from wavesim.errors import WavesimError
from wavesim.viz import style

MOST = 6  # more panels than this leave no disk large enough to look at
LARGE, SMALL, CHAIN = "#a9c0d6", "#efcb8a", "#a32638"


@dataclass(frozen=True)
class _Disks:
    """positions (N, 2) x first; radii, species (N); box (2); pairs (C, 2); overlap (C); lengths in large diameters."""

    positions: np.ndarray
    radii: np.ndarray
    species: np.ndarray
    box: np.ndarray
    pairs: np.ndarray
    overlap: np.ndarray
    title: str


def packings(path: str | Path, source: str | Path, names: Sequence[str] | None = None) -> Path:
    """Draw up to six packings of a packings.h5 file.

    Args:
        source: the file; names: its groups to draw, by default the first whole ones.
    Raises:
        WavesimError: no such file or group, or a packing that is not two-dimensional.
    """
    disks = _read(Path(source), names)
    columns = min(3, len(disks))
    rows = math.ceil(len(disks) / columns)
    tallest = max(packing.box[1] / packing.box[0] for packing in disks)
    figure = style.blank(3.5 * columns, rows * (3.4 * tallest + 0.4) + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(disks) :]:
        axis.set_axis_off()
    for axis, packing in zip(axes, disks, strict=False):
        _draw(axis, packing)
    figure.legend(
        handles=[
            _disk("large", LARGE, 9),
            _disk("small", SMALL, 6),
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                markersize=8,
                color="white",
                markeredgecolor=style.MUTED,
                label="rattler",
            ),
            Line2D([], [], color=CHAIN, linewidth=2.2, label="contact, as wide as its force"),
        ],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=style.INK,
    )
    return style.write(figure, path)


def _disk(label: str, colour: str, size: float) -> Line2D:
    return Line2D([], [], ls="", marker="o", ms=size, color=colour, markeredgecolor=style.MUTED, mew=0.6, label=label)


def rattlers(count: int, pairs: np.ndarray, dim: int = 2) -> np.ndarray:
    """(count,) bool: particles that cannot be rigid, because fewer than dim + 1 contacts hold them."""
    loose: np.ndarray = np.zeros(count, bool)
    while True:
        held = pairs[~loose[pairs].any(axis=1)]
        now = np.bincount(held.ravel(), minlength=count) < dim + 1
        if (now == loose).all():
            return loose
        loose = now


def _read(source: Path, names: Sequence[str] | None) -> list[_Disks]:
    if not source.is_file():
        raise WavesimError(f"{source} does not exist; make it with `wavesim generate packings`")
    with h5py.File(source, "r") as file:
        whole = [name for name in file if "complete" in file[name].attrs]
        missing = [name for name in names or [] if name not in whole]
        if missing or not whole:
            raise WavesimError(f"{source} has no whole packing {missing[0] if missing else ''}; it has {whole[:MOST]}")
        return [_packing(source, file[name]) for name in (names or whole)[:MOST]]


def _packing(source: Path, group: h5py.Group) -> _Disks:
    about = group.attrs
    if about["dim"] != 2:
        raise WavesimError(f"{source}:{group.name} has {about['dim']} dimensions; this figure draws disks, in 2")
    title = (
        f"size ratio {about['size_ratio']:.2f}   "
        rf"$\phi_J$ = {about['phi_j']:.3f}   $Z$ = {about['coordination']:.2f}"
    )
    return _Disks(
        positions=group["positions"][:],
        radii=group["radii"][:],
        species=group["species"][:],
        box=group["box"][:],
        pairs=group["contacts/pairs"][:].reshape(-1, 2).astype(int),
        overlap=group["contacts/overlap"][:],
        title=title,
    )


def _draw(axis: Axes, disks: _Disks) -> None:
    width, height = disks.box
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal", xticks=[], yticks=[])
    axis.set_title(disks.title, color=style.INK, fontsize=10)
    for spine in axis.spines.values():
        spine.set(color=style.MUTED, linewidth=0.8)
    frame = Rectangle((0, 0), width, height, transform=axis.transData)
    loose = rattlers(len(disks.radii), disks.pairs)

    circles, faces = [], []
    for shift in _images(disks.box):
        centres = disks.positions % disks.box + shift
        seen = ((centres > -disks.radii[:, None]) & (centres < disks.box + disks.radii[:, None])).all(axis=1)
        for i in np.flatnonzero(seen):
            circles.append(Circle(tuple(centres[i]), disks.radii[i]))
            faces.append("white" if loose[i] else LARGE if disks.species[i] else SMALL)
    patches = PatchCollection(circles, facecolors=faces, edgecolors=style.MUTED, linewidths=0.6)
    patches.set_clip_path(frame)
    axis.add_collection(patches)

    if len(disks.pairs):
        widths = np.clip(1.7 * disks.overlap / disks.overlap.mean(), 0.15, 5.0)
        widths = np.tile(widths, len(_images(disks.box)))
        lines = LineCollection(list(_chains(disks)), linewidths=widths, colors=CHAIN, capstyle="round", alpha=0.85)
        lines.set_clip_path(frame)
        axis.add_collection(lines)


def _images(box: np.ndarray) -> list[np.ndarray]:
    return [np.array([i, j]) * box for i in (-1, 0, 1) for j in (-1, 0, 1)]


def _chains(disks: _Disks) -> np.ndarray:
    """(images x C, 2, 2): each contact from centre to nearest image of the other centre, in every periodic image."""
    start = disks.positions[disks.pairs[:, 0]] % disks.box
    branch = disks.positions[disks.pairs[:, 1]] - disks.positions[disks.pairs[:, 0]]
    branch -= disks.box * np.round(branch / disks.box)
    segments = np.stack([start, start + branch], axis=1)
    return np.concatenate([segments + shift for shift in _images(disks.box)])
