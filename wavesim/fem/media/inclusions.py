"""Bodies in a background: circles, ellipses, rectangles and polygons, each painted over what lies below.

With s the share of a body, from its signed distance d(x, y) (`blend`), and 1/kappa, rho the medium below it,

    1/kappa <- (1 - s)/kappa + s/kappa_body,     rho <- (1 - s) rho + s rho_body.

The distances are exact. To an ellipse with semi-axes a >= b, from (x, y) in its own frame and with e = a^2 - b^2, it is

    d = (t - b^2) |(x/(t + e), y/t)|     at the largest root t of     (a x/(t + e))^2 + (b y/t)^2 = 1.

Reference: Schneider and Eberly, Geometric Tools for Computer Graphics (2003), chapter 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive
from wavesim.fem.media.blend import require_width, share
from wavesim.fem.medium import Medium, uniform


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A body with `bulk_modulus` and `density`, whose surface is `interface_width` wide (0: sharp); nondimensional.

    A shape of one's own is a subclass that gives `distance`.

    Raises:
        WavesimError: a size, a bulk modulus or a density that is not positive.
    """

    bulk_modulus: float
    density: float = 1.0
    interface_width: float = 0.0

    def __post_init__(self) -> None:
        require_positive("bulk_modulus of a shape", self.bulk_modulus)
        require_positive("density of a shape", self.density)
        require_width(self.interface_width)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance from (x, y), which broadcast, to the surface; negative inside."""
        raise NotImplementedError

    def reach(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """From and to along x and along y: beyond them there is nothing of the body."""
        return (-np.inf, np.inf), (-np.inf, np.inf)

    def share(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The part of the body in what is at (x, y), which broadcast: 1 inside, 0 outside."""
        return share(self.distance(x, y), self.interface_width)


@dataclass(frozen=True)
class Circle(Shape):
    """A disk around `center` (x, y)."""

    center: tuple[float, float]
    radius: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("radius of a circle", self.radius)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance from (x, y), which broadcast, to the circle."""
        return np.hypot(x - self.center[0], y - self.center[1]) - self.radius

    def reach(self) -> tuple[tuple[float, float], tuple[float, float]]:
        if self.interface_width > 0:  # the tanh has no end
            return super().reach()
        (x, y), radius = self.center, self.radius * (1 + 1e-12)
        return (x - radius, x + radius), (y - radius, y + radius)


@dataclass(frozen=True)
class Ellipse(Shape):
    """An ellipse around `center` with `semi_axes`, the first turned by `angle` (radians) from x towards y."""

    center: tuple[float, float]
    semi_axes: tuple[float, float]
    angle: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("semi-axis of an ellipse", *self.semi_axes)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance from (x, y), which broadcast, to the ellipse, to rounding."""
        first, second = (np.abs(part) for part in _own_frame(x, y, self.center, self.angle))
        a, b = self.semi_axes
        if a < b:
            a, b, first, second = b, a, second, first
        e, scale = a * a - b * b, 1e-30 * b
        second = np.maximum(second, scale)  # on the long axis itself, the limit towards it
        # The left side falls and is convex, and lies between 1 and 2 here: Newton's steps ascend to the root.
        root = np.maximum(b * second, a * first - e)
        for _ in range(100):
            u, v = (a * first / (root + e)) ** 2, (b * second / root) ** 2
            step = (u + v - 1) / (2 * (u / (root + e) + v / root))
            root = root + np.maximum(step, 0)
            if np.all(step <= 4e-16 * root):
                break
        return (root - b * b) * np.hypot(first / (root + e), second / root)


@dataclass(frozen=True)
class Rectangle(Shape):
    """A rectangle around `center` with `sides`, the first turned by `angle` (radians) from x towards y."""

    center: tuple[float, float]
    sides: tuple[float, float]
    angle: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("side of a rectangle", *self.sides)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance from (x, y), which broadcast, to the rectangle."""
        first, second = _own_frame(x, y, self.center, self.angle)
        first, second = np.abs(first) - self.sides[0] / 2, np.abs(second) - self.sides[1] / 2
        outside = np.hypot(np.maximum(first, 0), np.maximum(second, 0))
        return outside + np.minimum(np.maximum(first, second), 0)


@dataclass(frozen=True)
class Polygon(Shape):
    """A polygon with `vertices` (vertex, 2), x first, in either sense of rotation, convex or not.

    Where its sides cross each other, inside is what a ray leaves through an odd number of sides.
    """

    vertices: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            corners = np.array(self.vertices, dtype=np.float64)
        except ValueError as error:
            raise WavesimError(f"vertices of a polygon must be pairs of numbers ({error})") from error
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
            raise WavesimError(f"vertices {corners.shape} of a polygon must be (3 or more, 2) finite numbers")
        if (corners == np.roll(corners, 1, axis=0)).all(axis=1).any():
            raise WavesimError("a polygon has the same vertex twice in a row; leave one out (the last joins the first)")
        object.__setattr__(self, "vertices", tuple((float(x), float(y)) for x, y in corners))

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance from (x, y), which broadcast, to the polygon's sides."""
        square: np.ndarray = np.full(np.broadcast_shapes(np.shape(x), np.shape(y)), np.inf)
        inside = np.zeros(square.shape, dtype=bool)
        for (x0, y0), (x1, y1) in zip(self.vertices, [*self.vertices[1:], self.vertices[0]], strict=True):
            dx, dy = x - x0, y - y0
            along = (dx * (x1 - x0) + dy * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
            along = np.minimum(np.maximum(along, 0), 1)
            square = np.minimum(square, (dx - along * (x1 - x0)) ** 2 + (dy - along * (y1 - y0)) ** 2)
            if y0 != y1:
                inside ^= (np.less_equal(y0, y) != np.less_equal(y1, y)) & (dx < dy * ((x1 - x0) / (y1 - y0)))
        return np.where(inside, -1.0, 1.0) * np.sqrt(square)


def inclusions(shapes: Sequence[Shape], background: Medium | None = None) -> Medium:
    """Shapes in a background medium (by default kappa = rho = 1); where they overlap, the last one lies on top.

    Raises:
        WavesimError: something among the shapes that is none.
    """
    for shape in shapes:
        if not isinstance(shape, Shape):
            raise WavesimError(f"{shape!r} is no shape; use Circle, Ellipse, Rectangle, Polygon or another Shape")
    below, bodies = uniform() if background is None else background, tuple(shapes)

    def painted(bottom: np.ndarray, values: Sequence[float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
        field = np.array(np.broadcast_to(bottom, np.broadcast_shapes(np.shape(x), np.shape(y))), float)
        for body, value in zip(bodies, values, strict=True):
            here, x_, y_ = _within(body, x, y)
            s = body.share(x_, y_)
            field[here] = (1 - s) * field[here] + s * value
        return field

    def bulk_modulus(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 / painted(1 / below.bulk_modulus(x, y), [1 / body.bulk_modulus for body in bodies], x, y)

    def density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return painted(below.density(x, y), [body.density for body in bodies], x, y)

    return Medium(bulk_modulus, density)


def _within(body: Shape, x: np.ndarray, y: np.ndarray) -> tuple[tuple[slice, ...], np.ndarray, np.ndarray]:
    """Where on open grids, x (1, n) and y (n, 1), a body may be; of other points all."""
    if np.ndim(x) != 2 or np.ndim(y) != 2 or len(x) != 1 or np.shape(y)[1] != 1:
        return (), x, y
    along = []
    for places, (low, high) in zip((y.ravel(), x.ravel()), reversed(body.reach()), strict=True):
        inside = np.flatnonzero((places >= low) & (places <= high))
        along.append(slice(inside[0], inside[-1] + 1) if inside.size else slice(0))
    rows, columns = along
    return (rows, columns), x[:, columns], y[rows]


def _own_frame(
    x: np.ndarray, y: np.ndarray, center: tuple[float, float], angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) along the first and the second axis of a body at `center` that is turned by `angle`."""
    dx, dy = x - center[0], y - center[1]
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * dx + sin * dy, cos * dy - sin * dx
