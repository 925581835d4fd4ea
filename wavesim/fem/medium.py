"""The medium that the waves run through: bulk modulus kappa and density rho as functions of place.

A packing's grains lie in a background with kappa = rho = 1. With d(x, y) the signed distance to the nearest grain's
surface (negative inside) and w the width of the interface, the share of grain at a place is

    s = (1 - tanh(2 d / w)) / 2,      1/kappa = (1 - s) + s / kappa_grain,      rho = (1 - s) + s rho_grain,

the mixture's compressibility and mass (Wood's law), so that a cell's average is that of the same blend; three quarters
of the change happen within w. The packing is periodic; a trajectory sees it through a shift and one of the eight
symmetries of the square, which both leave it a packing of the same kind.

Everything is nondimensional: lengths in domain sides, kappa and rho in those of the background.
Reference: Wood, A Textbook of Sound (1930), on mixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.sampling import cell_centres

if TYPE_CHECKING:
    from wavesim.fem.mesh import Mesh
    from wavesim.fem.raster import Raster
    from wavesim.fem.sampling import Nodes
    from wavesim.mixtures import Diagram

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Medium:
    """bulk_modulus(x, y) and density(x, y): arrays that broadcast in, float64 values of their common shape out."""

    bulk_modulus: Field
    density: Field

    @staticmethod
    def from_packing(
        path: str | Path, number: int = 0, road: Literal["conforming", "raster"] = "conforming", **settings: Any
    ) -> tuple[Materials, Mesh] | tuple[Raster, Nodes]:
        """The grains of a packings.h5, resolved: a medium and the mesh it belongs to, as `assemble` takes them.

        settings, Raises: of `fem.from_packing`, bulk_modulus and density of the grains among them. What long waves
        see of it: `fem.effective(*Medium.from_packing(path))`.
        """
        from wavesim.fem.roads import from_packing

        return from_packing(path, number, road, **settings)

    @staticmethod
    def from_diagram(
        diagram: Diagram | str | Path,
        size_ratio: Field | float,
        small_fraction: Field | float,
        background: tuple[float, float],
    ) -> Medium:
        """Granular matter by its mixture, K and density being those of a jamming diagram, or of its file (of spheres).

        Args, Raises: as `fem.jammed`. The mixtures of a wanted wave speed: `fem.of_speed`.
        """
        from wavesim.fem.media.jammed import jammed
        from wavesim.mixtures import Diagram, read_diagram

        known = diagram if isinstance(diagram, Diagram) else read_diagram(diagram)
        return jammed(known, size_ratio, small_fraction, background)

    def cells(self, grid: tuple[int, int], lengths: tuple[float, float] = (1.0, 1.0), parts: int = 8) -> np.ndarray:
        """(channel, y, x) of 1 / mean(1/kappa) and mean(rho) over grid = (y, x) cells, from parts^2 points each."""
        x = cell_centres(grid[1] * parts, lengths[0])[None, :]
        y = cell_centres(grid[0] * parts, lengths[1])[:, None]

        def mean(field: np.ndarray) -> np.ndarray:
            return field.reshape(grid[0], parts, grid[1], parts).mean(axis=(1, 3))

        return np.stack([1 / mean(1 / self.bulk_modulus(x, y)), mean(self.density(x, y))])


@dataclass(frozen=True)
class Materials:
    """kappa and rho of each cell of a mesh by its tag: bulk_modulus[tag], density[tag]."""

    bulk_modulus: tuple[float, ...]
    density: tuple[float, ...]


def uniform(bulk_modulus: float = 1.0, density: float = 1.0) -> Medium:
    """The same everywhere."""
    return Medium(lambda x, y: np.full(_shape(x, y), bulk_modulus), lambda x, y: np.full(_shape(x, y), density))


def packing(
    positions: np.ndarray,
    radii: np.ndarray,
    bulk_modulus: float,
    density: float,
    interface_width: float,
    radius_scale: float = 1.0,
) -> Medium:
    """Grains in the periodic unit square.

    Args:
        positions: (grain, 2) centres, x first, in [0, 1]. radii: (grain,).
        bulk_modulus, density: of the grains. interface_width: w above. radius_scale: multiplies the radii.
    Raises:
        WavesimError: shapes that do not fit, or a value that is not positive.
    """
    positions, radii = np.asarray(positions, float), np.asarray(radii, float) * radius_scale
    if positions.ndim != 2 or positions.shape != (radii.size, 2):
        raise WavesimError(f"positions {positions.shape} and radii {radii.shape} should be (grains, 2) and (grains,)")
    for name, value in (("bulk_modulus", bulk_modulus), ("density", density), ("interface_width", interface_width)):
        if not value > 0:
            raise WavesimError(f"{name} {value} of a packing's grains must be positive")

    def share(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (1 - np.tanh(2 / interface_width * surface_distance(positions, radii, x, y))) / 2

    return Medium(
        lambda x, y: 1 / (1 + share(x, y) * (1 / bulk_modulus - 1)),
        lambda x, y: 1 + share(x, y) * (density - 1),
    )


def surface_distance(positions: np.ndarray, radii: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance from (x, y) to the nearest surface of grains in the periodic unit square, negative inside.

    On open grids, x (1, n) and y (n, 1), a grain costs one addition and one comparison a point.
    """
    distance = np.full(_shape(x, y), np.inf)
    # Among grains of one radius the nearest centre decides: one square root a radius, not one a grain.
    for radius in np.unique(radii):
        square = np.full(distance.shape, np.inf)
        for position in positions[radii == radius]:
            dx, dy = x - position[0], y - position[1]
            dx, dy = dx - np.round(dx), dy - np.round(dy)  # the nearest periodic image
            np.minimum(square, dx * dx + dy * dy, out=square)
        np.minimum(distance, np.sqrt(square) - radius, out=distance)
    return distance


def cut(positions: np.ndarray, shift: np.ndarray, symmetry: int) -> np.ndarray:
    """Centres (grain, 2) in the periodic unit square after a symmetry of the square (0 to 7) and then a shift (2,).

    Bit 0 of `symmetry` mirrors x, bit 1 mirrors y, and bit 2 then exchanges the axes.
    """
    moved = np.array(positions, float)
    for axis in (0, 1):
        if symmetry >> axis & 1:
            moved[:, axis] = 1 - moved[:, axis]
    if symmetry >> 2 & 1:
        moved = moved[:, ::-1]
    return (moved + shift) % 1.0


def _shape(x: np.ndarray, y: np.ndarray) -> tuple[int, ...]:
    return np.broadcast_shapes(np.shape(x), np.shape(y))
