"""Truth, forecast and error side by side as a film, with the clock and the error as text.

Everything that stands still is drawn once; a frame restores that picture and draws the fields, the grain outlines and
three texts over it, which makes a frame cost milliseconds instead of a whole matplotlib figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from wavesim import metrics
from wavesim.errors import WavesimError
from wavesim.provenance import whole_file
from wavesim.viz import style

SUFFIXES = (".mp4", ".gif")
# A GIF stores every pixel of a smooth field: two seconds at full size are megabytes, so it is made smaller.
GIF_DPI = 72


def animate(
    path: str | Path,
    truth: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    medium: np.ndarray,
    frame_interval: float,
    fps: int = 16,
) -> Path:
    """Write a film, `.mp4` or `.gif` by the suffix of `path`, one picture for each frame that all fields have.

    Errors too small for the one colour scale are magnified, all by the factor that stands in their titles.
    One forecast stands in a row truth | forecast | error; several stand in columns, each above its error, with the
    error curves growing under the truth.

    Args:
        truth: (time, y, x) pressure; forecasts: name -> (time, y, x); medium: (2, y, x).
        frame_interval: time between two frames, in crossings; fps: pictures a second of the film.
    Raises:
        WavesimError: another suffix, or no forecast.
    """
    path = film_path(path)
    if not forecasts:
        raise WavesimError("an animation needs at least one forecast beside the truth")
    frames = min([len(truth), *(len(forecast) for forecast in forecasts.values())])
    dpi = GIF_DPI if path.suffix == ".gif" else style.DPI
    cut = {name: field[:frames] for name, field in forecasts.items()}
    film = _Film(truth[:frames], cut, medium, frame_interval, dpi)
    with whole_file(path) as part, open_film(part, fps) as writer:
        for frame in range(frames):
            writer.append_data(film.picture(frame))
    return path


def film_path(path: str | Path) -> Path:
    """`path`, if a film can be written there.

    Raises:
        WavesimError: a suffix other than those of `SUFFIXES`.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise WavesimError(f"{path}: a film is written as {' or '.join(SUFFIXES)}, not '{path.suffix}'")
    return path


def open_film(path: Path, fps: int) -> Any:
    """A writer of (y, x, 3) uint8 pictures with even sides; its context closes the file."""
    import imageio.v2 as imageio  # here, because it looks for the ffmpeg program when it is imported

    if path.suffix == ".gif":
        return _Gif(path, fps)
    # yuv420p plays in every browser and needs even sides, which the callers see to.
    return imageio.get_writer(
        path, format="FFMPEG", fps=fps, codec="libx264", quality=7, macro_block_size=2, ffmpeg_log_level="quiet"
    )


class _Gif:
    """A film in the colours of `style.few`: a palette of each picture's own would lose what is thin, and flicker."""

    def __init__(self, path: Path, fps: int):
        self._path, self._duration, self._pictures = path, 1000 / fps, list[Image.Image]()
        self._palette = Image.new("P", (1, 1))
        self._palette.putpalette(style.few().tobytes())

    def __enter__(self) -> Self:
        return self

    def append_data(self, picture: np.ndarray) -> None:
        """One picture more, (y, x, 3) uint8."""
        coloured = Image.fromarray(np.ascontiguousarray(picture[..., :3]))
        self._pictures.append(coloured.quantize(palette=self._palette, dither=Image.Dither.NONE))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            first, *others = self._pictures
            first.save(self._path, "GIF", save_all=True, append_images=others, duration=self._duration, loop=0)


class _Film:
    """The figure, its moving artists and its still background."""

    def __init__(
        self,
        truth: np.ndarray,
        forecasts: Mapping[str, np.ndarray],
        medium: np.ndarray,
        frame_interval: float,
        dpi: int,
    ):
        self._frame_interval = frame_interval
        self._grains = style.grain_share(medium)
        self._limit = style.pressure_limit(truth)
        self._errors = {name: metrics.relative_l2(field, truth) for name, field in forecasts.items()}
        differences = {name: field - truth for name, field in forecasts.items()}
        factor = style.magnification(np.stack(list(differences.values())), self._limit)
        self._moving: list[Artist] = []
        self._panels: list[tuple[Any, np.ndarray]] = []
        self._notes: dict[str, Any] = {}
        self._curves: dict[str, Any] = {}

        alone = len(forecasts) == 1
        columns = 3 if alone else 1 + len(forecasts)
        self.figure = style.blank(2.55 * columns + 0.9, 2.85 if alone else 5.45)
        self.figure.set_dpi(dpi)
        grid = self.figure.subplots(1 if alone else 2, columns, squeeze=False)
        self._add_panel(grid[0, 0], "FE truth", truth)
        for column, (name, field) in enumerate(forecasts.items(), start=1):
            self._add_panel(grid[0, column], name, field)
            below = grid[0, 2] if alone else grid[1, column]
            self._add_panel(below, style.error_title(factor, "" if alone else name), factor * differences[name])
            self._notes[name] = self._add_note(below)
        self._clock = self._add_note(grid[0, 0])
        if not alone:
            self._add_curves(grid[1, 0], len(truth))
        style.pressure_bar(self.figure, [axis for axis in grid.ravel() if axis.images], self._limit)
        self._background = _still(self.figure, self._moving)

    def _add_panel(self, axis: Axes, title: str, field: np.ndarray) -> None:
        style.field_panel(axis, title)
        colours = style.paint(field[0], self._limit, self._grains)
        image = axis.imshow(colours, origin="lower", extent=(0, 1, 0, 1), interpolation="bilinear")
        style.outline(axis, self._grains)
        self._panels.append((image, field))
        self._moving += [image, *axis.collections]

    def _add_note(self, axis: Axes) -> Any:
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        note = axis.text(0.035, 0.96, "", va="top", color=style.INK, fontsize=9.5, bbox=box)
        self._moving.append(note)
        return note

    def _add_curves(self, axis: Axes, frames: int) -> None:
        style.tidy(axis, "time", title="relative L2")
        later = np.concatenate([errors[1:] for errors in self._errors.values()])
        later = later[np.isfinite(later) & (later > 0)]
        low, high = (later.min(), later.max()) if later.size else (0.01, 1.0)
        axis.set(yscale="log", ylim=(low / 1.3, high * 1.3), xlim=(0, frames * self._frame_interval), box_aspect=0.8)
        style.decimal(axis.yaxis)
        for i, name in enumerate(self._errors):
            (self._curves[name],) = axis.plot([], [], color=style.colour_of(name, i), linewidth=1.8, label=name)
            self._moving.append(self._curves[name])
        handles = list(self._curves.values())
        style.legend(axis, handles=handles, loc="lower right", handlelength=1.2)

    def picture(self, frame: int) -> np.ndarray:
        """(y, x, 3) uint8 of one frame, both sides even."""
        for image, field in self._panels:
            image.set_data(style.paint(field[frame], self._limit, self._grains))
        self._clock.set_text(f"t = {frame * self._frame_interval:.2f}")
        time = self._frame_interval * np.arange(1, frame + 1)
        for name, errors in self._errors.items():
            self._notes[name].set_text(f"{100 * errors[frame]:.3g} %")
            if name in self._curves:
                self._curves[name].set_data(time, errors[1 : frame + 1])
        canvas: Any = self.figure.canvas
        canvas.restore_region(self._background)
        for artist in self._moving:
            artist.axes.draw_artist(artist)  # type: ignore[union-attr]
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
        return np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])


def _still(figure: Figure, moving: list[Artist]) -> Any:
    """Draw the figure without its moving artists and keep that picture."""
    for artist in moving:
        artist.set_animated(True)
    canvas: Any = figure.canvas
    canvas.draw()
    figure.set_layout_engine("none")
    return canvas.copy_from_bbox(figure.bbox)
