"""The one look of every figure, animation and window: colours, the pressure map, grains, figures without pyplot.

A pressure p is drawn as colour((p / limit + 1) / 2), blue under zero, white at zero, red above, and darkened a little
inside the grains, so that one sees the packing that the wave runs through. The grain share of a cell is
g = (s_max - s) / (s_max - s_min) of its compliance s = 1/kappa, which for grains in a background is their area share
(the medium's bulk modulus is the harmonic mean over the cell); g = 1/2 is the outline.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from wavesim.provenance import whole_file

INK = "#23272e"
MUTED = "#737a85"
HAIRLINE = "#d9dce1"
DPI = 120
PRESSURE_MAP = matplotlib.colormaps["RdBu_r"]
_TABLE = PRESSURE_MAP(np.linspace(0.0, 1.0, 256))[:, :3]
GRAIN_SHADE = 0.10  # enough to see a grain on white, too little to be taken for pressure

# Colour-blind safe (Okabe and Ito); the named forecasters keep their colour in every figure, and what has learned
# nothing is grey.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_NAMED = {"classical": PALETTE[0], "compressed": PALETTE[1], "pruned": PALETTE[2], "coarse step": MUTED,
          "persistence": "#b4b9c2"}  # fmt: skip


def colour_of(name: str, index: int) -> str:
    """The colour of a curve: fixed for the named forecasters, else the `index`-th free one of the palette."""
    free = [colour for colour in PALETTE if colour not in _NAMED.values()]
    return _NAMED.get(name, free[index % len(free)])


def faint(colour: str) -> tuple[float, ...]:
    """Red, green, blue and opacity of an area that goes with a curve of `colour`."""
    return (*to_rgb(colour), 0.2)


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each curve of a figure: the same in all figures that show the same names in the same order."""
    names = list(names)
    named = {name: _NAMED[name] for name in names if name in _NAMED}
    free = [colour for colour in PALETTE if colour not in named.values()]
    others = [name for name in names if name not in named]
    return named | {name: free[i % len(free)] for i, name in enumerate(others)}


def grain_share(medium: np.ndarray) -> np.ndarray:
    """(y, x) share of each cell that is grain or obstacle, 0 to 1, of a medium (2, y, x); all 0 in a uniform one."""
    rigid = np.isinf(medium[1])
    compliance = 1.0 / np.asarray(medium[0], float)
    span = float(compliance.max() - compliance.min())
    if span < 1e-6 * compliance.max():
        return rigid.astype(float)
    return np.where(rigid, 1.0, (compliance.max() - compliance) / span)


def pressure_limit(pressure: np.ndarray, share: float = 0.995) -> float:
    """Half-range of the colour scale: the `share` quantile of |p|, which lets only the sharpest crests saturate."""
    size = np.abs(np.asarray(pressure, float))
    limit = float(np.quantile(size, share))
    return limit or float(size.max()) or 1.0


def paint(field: np.ndarray, limit: float, grains: np.ndarray) -> np.ndarray:
    """(y, x, 3) uint8 colours of a field (y, x) on the scale -limit to limit, grains (y, x) darkened."""
    index = np.clip((np.asarray(field, float) / limit + 1.0) * 127.5, 0.0, 255.0)
    colours = _TABLE[np.nan_to_num(index, nan=127.5).round().astype(int)]
    return (255.0 * colours * (1.0 - GRAIN_SHADE * grains[..., None])).round().astype(np.uint8)


def few() -> np.ndarray:
    """(n, 3) uint8, n <= 256: the pressure map in three shades of grain, and all else that is drawn, which is thin and
    fades into white; for films that hold no more colours."""
    shades = [_TABLE[np.linspace(0, 255, 71).astype(int)] * (1 - share * GRAIN_SHADE) for share in (0.0, 0.5, 1.0)]
    drawn = np.array([to_rgb(colour) for colour in (*PALETTE, *_NAMED.values(), INK, MUTED, HAIRLINE)])
    faded = [1 - share * (1 - np.unique(drawn, axis=0)) for share in (1.0, 0.7, 0.4)]
    return (255 * np.concatenate([*shades, *faded, np.ones((1, 3))])).round().astype(np.uint8)


FACTORS = (1, 2, 5, 10, 20, 50)


def magnification(error: np.ndarray, limit: float) -> int:
    """The largest of `FACTORS` times which every picture of `error` (..., y, x) fits the scale -limit to limit.

    The sharpest crests aside, as in `pressure_limit`; 1 where there is no error, or one that is not finite.
    """
    size = float(np.quantile(np.abs(error), 0.995, axis=(-2, -1), method="higher").max())
    return max((factor for factor in FACTORS if 0 < factor * size <= limit), default=1)


def error_title(factor: int, name: str = "") -> str:
    """The title of a panel that shows `factor` times the error of the forecaster `name`."""
    title, times = f"error of {name}," if name else "error", f"x {factor}"
    return f"{title} {times}" if factor > 1 else title.rstrip(",")


def blank(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches on its own canvas; no pyplot state is touched."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axis: Axes, x: str = "", y: str = "", title: str = "") -> Axes:
    """Light frame, faint grid, labels: the look of every plot of curves."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(MUTED)
    axis.tick_params(colors=INK, which="both", labelsize=9, color=MUTED)
    axis.grid(True, which="major", color=HAIRLINE, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.set_xlabel(x, color=INK, fontsize=10)
    axis.set_ylabel(y, color=INK, fontsize=10)
    if title:
        axis.set_title(title, color=INK, fontsize=11, loc="left")
    return axis


def decimal(axis: Axis) -> None:
    """Plain numbers at 1, 2, 5, 10, ... of a logarithmic axis, a hairline at each, and no minor ticks.

    An axis that spans little when this is called gets others, so that at least two stand on any.
    """
    low, high = sorted(axis.get_view_interval())
    if high > 7 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    elif high > 2.5 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)))
    else:
        axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def legend(axis: Axes, **options: Any) -> None:
    """A frameless legend in the figure's ink."""
    axis.legend(frameon=False, fontsize=9, labelcolor=INK, **options)


def field_panel(axis: Axes, title: str = "") -> Axes:
    """An axis that holds a picture of the unit square: no ticks, a hairline around."""
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=MUTED, linewidth=0.7)
    if title:
        axis.set_title(title, color=INK, fontsize=11)
    return axis


def outline(axis: Axes, grains: np.ndarray) -> None:
    """Draw where the grain share (y, x) is one half; nothing in a uniform medium."""
    if grains.max() < 0.5:
        return
    height, width = grains.shape
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    axis.contour(x, y, grains, levels=[0.5], colors=[INK], linewidths=0.6, alpha=0.55)


def pressure_bar(figure: Figure, axes: Iterable[Axes], limit: float) -> None:
    """The figure's one colour bar, right of `axes`; its ends are open because crests may saturate."""
    scale = ScalarMappable(Normalize(-limit, limit), PRESSURE_MAP)
    bar = figure.colorbar(scale, ax=list(axes), shrink=0.75, aspect=28, pad=0.015, extend="both")
    bar.set_label("pressure", color=INK, fontsize=10)
    bar.ax.tick_params(labelsize=9, colors=INK, color=MUTED)
    bar.outline.set_edgecolor(MUTED)  # type: ignore[operator]


def write(figure: Figure, path: str | Path) -> Path:
    """Write a PNG, whole or not at all, and return its path.

    Raises:
        WavesimError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=DPI)
    return path
