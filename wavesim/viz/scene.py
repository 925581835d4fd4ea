"""What the live window shows: three fields on one colour scale, the error as it grows, the numbers, the keys.

All of it stands in one renderer with a parallel camera, so that a place on the screen is a place in the plane by two
additions and a product. Field k covers [k s, k s + 1] x [0, 1] of that plane, s being one and a gap. A field is a
texture of its painted cells on a flat, unlit quad, with multisampling off: on a software renderer that made the
picture 7.6 times faster; the outlines are a second, still texture, drawn smooth once by matplotlib. The error is shown
times a factor: one with which it may grow `GROWTH` times at a forecast's first frame, a smaller one when it leaves the
scale.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wavesim.viz import style
from wavesim.viz.session import Session

SIZE = (1320, 740)  # pixels
SPACING = 1.05  # from one field's left edge to the next
WIDTH, HEIGHT = 3.42, 1.12  # of the plane that the fields, their titles and the colour bar take
TOP_SHARE = 0.60  # of the window's height that is theirs
COLOUR_SHARE = 0.35  # a pulse of amplitude 1 has spread to less than this after a tenth of a crossing
GROWTH = 4.0  # from the first frame to the 64th, the crests of the demo's forecasters' errors grow 2.5 to 3.3 times
ERROR_TICKS = {1e-3: "0.1 %", 1e-2: "1 %", 1e-1: "10 %", 1.0: "100 %"}
ERROR_RANGE = (8e-4, 3.0)
KEYS = (
    "click  drop a pulse     space  pause     r  restart     q  quit\n"
    "n  next packing     b  the one before     e  magnify the error"
)
LINE, LINES = 68, 3  # letters and lines that a message may take
LABELS = "packing\nforecaster\ntime\nrelative L2\nforecast\nFE truth\nshown\nstate"


def place_in_field(x: float, y: float) -> tuple[float, float] | None:
    """The point of the unit square at (x, y) of the plane, in whichever field it lies; None beside the three."""
    for field in range(3):
        local = x - field * SPACING
        if 0.0 <= local <= 1.0 and 0.0 <= y <= 1.0:
            return local, y
    return None


class Scene:
    """Draws a session into a pyvista plotter.

    Args:
        plotter: an empty one; the scene owns its camera and actors from here on.
    """

    def __init__(self, plotter: Any, session: Session):
        self._plotter, self._session = plotter, session
        self._limit = COLOUR_SHARE * session.pulse_amplitude
        self._fitting = self._fixed = 0  # factors of the error: the one that fits, the user's; 0: not chosen
        self._medium: np.ndarray | None = None
        self._size = (0, 0)
        self._texts: list[tuple[Any, int]] = []
        plotter.set_background("white")
        plotter.render_window.SetMultiSamples(0)
        plotter.renderer.SetUseOIT(False)  # one layer over another blends plainly: 14 ms a picture, not 36
        plotter.camera.parallel_projection = True

        self._fields = [_Picture(plotter, k * SPACING) for k in range(3)]
        self._outlines = [_Picture(plotter, k * SPACING, height=0.001) for k in range(3)]
        left = 3 * SPACING
        bar = np.linspace(-1.0, 1.0, 256)[:, None].repeat(2, axis=1)  # one column would make it a 1-D texture
        _Picture(plotter, left, width=0.035).show(style.paint(bar, 1.0, np.zeros_like(bar)))

        self._titles = [self._text(13, style.INK, at=(k * SPACING, 1.025)) for k in range(3)]
        for share, label in ((0.0, -self._limit), (0.5, 0.0), (1.0, self._limit)):
            anchor = {0.0: "bottom", 0.5: "center", 1.0: "top"}[share]
            self._text(10, style.INK, at=(left + 0.05, share), anchor=anchor).SetInput(
                f"{label:+.2g}" if label else " 0"
            )
        self._text(10, style.INK, at=(left, 1.025)).SetInput("pressure")

        self._chart = _ErrorChart(plotter, session)
        labels = self._text(12, style.MUTED, corner=(0.625, 0.375), anchor="top")
        labels.SetInput(LABELS)
        self._values = self._text(12, style.INK, corner=(0.705, 0.375), anchor="top")
        self._message = self._text(10, style.PALETTE[1], corner=(0.625, 0.148), anchor="center")
        for i, name in enumerate(session.models):
            key = self._text(11, style.colour_of(name, i), corner=(0.625 + 0.11 * i, 0.085))
            key.SetInput(f"{i + 1}  {name}")
        self._text(10, style.MUTED, corner=(0.625, 0.022)).SetInput(KEYS)

    def _text(
        self,
        size: int,
        colour: str,
        at: tuple[float, float] | None = None,
        corner: tuple[float, float] | None = None,
        anchor: str = "bottom",
    ) -> Any:
        """A text at a place `at` of the plane or at a `corner` in shares of the window; `size` in points of SIZE."""
        from vtkmodules.vtkRenderingCore import vtkTextActor

        actor = vtkTextActor()
        position = actor.GetPositionCoordinate()
        if at is not None:
            position.SetCoordinateSystemToWorld()
            position.SetValue(*at, 0.0)
        elif corner is not None:
            position.SetCoordinateSystemToNormalizedViewport()
            position.SetValue(*corner, 0.0)
        look = actor.GetTextProperty()
        _letters(look, colour)
        look.SetLineSpacing(1.25)
        {
            "bottom": look.SetVerticalJustificationToBottom,
            "center": look.SetVerticalJustificationToCentered,
            "top": look.SetVerticalJustificationToTop,
        }[anchor]()
        self._plotter.renderer.AddViewProp(actor)
        self._texts.append((actor, size))
        return actor

    @property
    def fits(self) -> bool:
        """Whether the window still has the size for which it was drawn."""
        return tuple(self._plotter.render_window.GetSize()) == self._size

    def _fit(self) -> bool:
        """Fit camera and letters to the window; True when its size had changed."""
        width, height = self._plotter.render_window.GetSize()
        if self.fits or not width or not height:
            return False
        self._size = (width, height)
        a_pixel = max(WIDTH / width, HEIGHT / (TOP_SHARE * height)) * 1.03
        # The camera looks at the middle of the window, the fields have their middle in the upper part.
        centre_x = (WIDTH - 0.04) / 2
        centre_y = HEIGHT / 2 - (0.5 - TOP_SHARE / 2) * height * a_pixel
        camera = self._plotter.camera
        camera.position = (centre_x, centre_y, 5.0)
        camera.focal_point = (centre_x, centre_y, 0.0)
        camera.up = (0.0, 1.0, 0.0)
        camera.parallel_scale = height * a_pixel / 2
        camera.clipping_range = (1.0, 10.0)
        self._field_pixels = round(1 / a_pixel)
        letters = min(width / SIZE[0], height / SIZE[1]) * 1.25
        for actor, size in self._texts:
            actor.GetTextProperty().SetFontSize(max(8, round(size * letters)))
        return True

    def place(self, pixel_x: int, pixel_y: int) -> tuple[float, float] | None:
        """The point of the unit square under a pixel (counted from the lower left), None beside the fields."""
        camera = self._plotter.camera
        width, height = self._size
        a_pixel = 2 * camera.parallel_scale / height
        x, y, _ = camera.focal_point
        return place_in_field(x + (pixel_x + 0.5 - width / 2) * a_pixel, y + (pixel_y + 0.5 - height / 2) * a_pixel)

    def magnify(self) -> None:
        """Show the error times 1, then at each call times the next of the factors; after the last, as it fits."""
        choices = (*style.FACTORS, 0)
        self._fixed = choices[(choices.index(self._fixed) + 1) % len(choices)]

    @property
    def factor(self) -> int:
        """What the error on show is multiplied by."""
        return self._fixed or self._fitting or 1

    def _fit_factor(self, error: np.ndarray) -> None:
        """Choose a factor for `error` (y, x) at a forecast's first frame, and a smaller one when that has to be."""
        if not self._session.errors.get(self._session.model_name):
            self._fitting = 0
        elif not self._fitting:
            self._fitting = style.magnification(error, self._limit / GROWTH)
        else:
            self._fitting = min(self._fitting, style.magnification(error, self._limit))

    def draw(self, rate: float) -> None:
        """Show the session as it is now; `rate`: frames a second that the window reaches."""
        session, resized = self._session, self._fit()
        if session.ready:
            if resized or self._medium is not session.medium:
                self._medium = session.medium
                self._grains = style.grain_share(session.medium)
                outline = _outline_picture(self._grains, self._field_pixels)
                for picture in self._outlines:
                    picture.show(outline)
            truth, forecast = session.truth[0], session.forecast[0]
            error = forecast - truth
            self._fit_factor(error)
            shown = (truth, forecast, self.factor * error)
            for picture, field in zip(self._fields, shown, strict=True):
                picture.show(style.paint(field, self._limit, self._grains))
            self._chart.draw()
        titles = (session.source.label, session.model_name, style.error_title(self.factor))
        for actor, title in zip(self._titles, titles, strict=True):
            actor.SetInput(title if session.ready else " ")
        self._values.SetInput(numbers(session, rate))
        message = textwrap.wrap(session.message, LINE, max_lines=LINES, placeholder=" ...")
        self._message.SetInput("\n".join(message) or " ")
        self._plotter.render()


def _letters(look: Any, colour: str) -> None:
    """The figures' own font, which comes with matplotlib, for a vtkTextProperty."""
    look.SetFontFamily(4)  # VTK_FONT_FILE
    look.SetFontFile(font_manager.findfont("DejaVu Sans"))
    look.SetColor(*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)))


def numbers(session: Session, rate: float) -> str:
    """The values beside `LABELS`, one a line; "-" for what has not been measured."""

    def cost(milliseconds: float, engine: str) -> str:
        measured = f"{milliseconds:.1f} ms a frame" if milliseconds else "-"
        return f"{measured} ({engine})" if session.ready else "-"  # which source it is, its start decides

    return "\n".join(
        (
            f"{session.packing_name}  ({session.packing + 1} of {len(session.source.names)})",
            session.model_name,
            f"{session.clock:.2f}",
            f"{100 * session.error:.3g} %{_bounded(session)}",
            cost(session.forecast_milliseconds, session.models[session.model_name].engine),
            cost(session.truth_milliseconds, session.source.engine),
            f"{rate:.0f} frames a second" if rate else "-",
            session.state,
        )
    )


def _bounded(session: Session) -> str:
    """The present bound of the error, and how sure it is; nothing where there is none."""
    if session.bound is None:
        return ""
    sure = f"{100 * session.bands[session.model_name].level:.4g} %" if session.as_calibrated else "estimate"
    return f"   ({sure}: below {100 * session.bound:.3g} %)"


class _Picture:
    """An upright rectangle of the plane that shows (y, x, 3 or 4) uint8 colours, row 0 at the bottom."""

    def __init__(self, plotter: Any, left: float, width: float = 1.0, height: float = 0.0):
        import pyvista
        from vtkmodules.vtkRenderingCore import vtkTexture

        self._texture = vtkTexture()
        self._texture.InterpolateOn()
        self._texture.MipmapOff()
        self._texture.SetWrap(0)  # clamp to edge: no colours of the far side along a border
        self._image: Any = None
        quad = pyvista.Plane(
            center=(left + width / 2, 0.5, height), i_size=width, j_size=1.0, i_resolution=1, j_resolution=1
        )
        self._actor = plotter.add_mesh(quad, lighting=False, color="white", show_scalar_bar=False, reset_camera=False)
        self._actor.SetVisibility(False)

    def show(self, colours: np.ndarray) -> None:
        import pyvista

        rows, columns, channels = colours.shape
        if self._image is None or self._image.dimensions != (columns, rows, 1):
            self._image = pyvista.ImageData(dimensions=(columns, rows, 1))
            self._image.point_data["colours"] = colours.reshape(-1, channels)
            self._image.set_active_scalars("colours")
            self._texture.SetInputData(self._image)
            self._texture.SetColorModeToDirectScalars()
            self._actor.SetTexture(self._texture)
            self._actor.SetVisibility(True)
        self._image.point_data["colours"][:] = colours.reshape(-1, channels)
        self._image.GetPointData().GetScalars().Modified()
        self._image.Modified()


def _outline_picture(grains: np.ndarray, pixels: int) -> np.ndarray:
    """(pixels, pixels, 4) uint8, row 0 at the bottom: grain outlines and the field's edge on nothing."""
    figure = Figure(figsize=(pixels / style.DPI, pixels / style.DPI), dpi=style.DPI, facecolor="none")
    canvas = FigureCanvasAgg(figure)
    axis = style.field_panel(figure.add_axes((0, 0, 1, 1)))
    axis.set_facecolor("none")
    for spine in axis.spines.values():
        spine.set_linewidth(1.4)  # half of it falls off the picture
    style.outline(axis, grains)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1].copy()


class _ErrorChart:
    """The error of each forecaster against the time since its forecast began; the present one's line is thick, and what
    its band says that it is below is shaded."""

    def __init__(self, plotter: Any, session: Session):
        import pyvista

        self._session = session
        self._chart = pyvista.Chart2D(size=(0.585, 0.385), loc=(0.012, 0.012), grid=True)
        self._chart.background_color = "white"
        self._chart.border_color = "white"
        for axis, label in ((self._chart.x_axis, "time since the forecast began"), (self._chart.y_axis, "relative L2")):
            axis.label, axis.grid = label, True
            axis.pen.color = style.MUTED
            for look, size in ((axis.GetTitleProperties(), 14), (axis.GetLabelProperties(), 13)):
                _letters(look, style.INK)
                look.SetBold(False)
                look.SetFontSize(size)
        # Logarithms on a linear axis with labels of our own: a logarithmic vtkAxis labels every 2 and 5.
        self._chart.y_axis.tick_locations = list(np.log10(list(ERROR_TICKS)))
        self._chart.y_axis.tick_labels = list(ERROR_TICKS.values())
        self._chart.legend_visible = False
        self._below = self._chart.area([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], color="white")  # first: behind the lines
        self._lines = {
            name: self._chart.line([0.0, 0.0], [0.0, 0.0], color=style.colour_of(name, i), width=2, label=name)
            for i, name in enumerate(session.models)
        }
        plotter.add_chart(self._chart)
        self.draw()

    def draw(self) -> None:
        longest, (low, high) = 2.0, ERROR_RANGE
        present = self._session.model_name
        bounds: np.ndarray = np.array(self._session.bounds.get(present, ())).reshape(-1, 2)
        self._below.visible = len(bounds) > 1
        if len(bounds) > 1:
            lead, bound = bounds.T
            self._below.update(lead, np.full(len(lead), np.log10(low)), np.log10(np.clip(bound, low, high)))
            self._below.color = style.faint(style.colour_of(present, list(self._session.models).index(present)))
        for name, line in self._lines.items():
            points: np.ndarray = np.array(self._session.errors.get(name, ())).reshape(-1, 2)
            if len(points) < 2:
                points = np.array([(0.0, low)] * 2)  # in the corner; were all lines hidden, so would be the axes
            lead, error = points.T
            line.update(lead, np.log10(np.clip(error, low, high)))
            line.pen.width = 3.0 if name == present else 1.2
            longest = max(longest, 1.1 * lead[-1])
        self._chart.x_range = (0.0, longest)
        self._chart.y_range = (np.log10(low), np.log10(high))
