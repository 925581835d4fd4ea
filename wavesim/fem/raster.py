"""Disks on a rectangle's mesh that does not follow them: each element point has the averages over its control cell.

Along an axis the Gauss-Lobatto-Legendre weights cut an element into intervals, one for each of its points, that the
quadrature lets it stand for; a control cell is the product of two. With s the share of grain in it, <.> the average
over it and n the normal of the nearest circle,

    1/kappa -> <1/kappa>,        1/rho -> n n^T / <rho> + (1 - n n^T) <1/rho>:

along n the layers' inertias act one after the other, along the tangent side by side. Averages over equal squares about
the points were up to twice as far from the truth, averages over whole elements five to ten times.

In an absorbing layer grains go straight on: a control cell there is the part of the rectangle's side that it lies
behind, n points along that side, and the tensor is diagonal, as a layer has to have it (absorbing.py).

Reference: Moczo et al., Bull. Seismol. Soc. Am. 92 (2002) 3042-3066; Muir et al., Geophysics 57 (1992) 1189-1193.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive
from wavesim.fem.sampling import Nodes

PARTS = 8  # points a side of a control cell


@dataclass(frozen=True, eq=False)
class Raster:
    """disks: (disks, 3) of x, y and radius (window.seen); bulk_modulus, density: inside of them, 1 outside; nodes: the
    mesh on which they are averaged. Raises WavesimError for values that are not positive, or no disks."""

    disks: np.ndarray
    bulk_modulus: float
    density: float
    nodes: Nodes

    def __post_init__(self) -> None:
        require_positive("bulk_modulus of the disks", self.bulk_modulus)
        require_positive("density of the disks", self.density)
        shape = np.shape(self.disks)
        if len(shape) != 2 or shape[1] != 3 or not shape[0] or not np.isfinite(self.disks).all():
            raise WavesimError(f"disks of shape {shape}: give x, y and radius of at least one, (disks, 3), all finite")

    def evaluate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """kappa (places,) and the tensor 1/rho (2, 2, places) at points of elements (places, 2).

        Raises:
            WavesimError: a place that is no point of the mesh's elements.
        """
        cells = [axis.control_cells(places[:, k]) for k, axis in enumerate(self.nodes.axes)]
        begin, size = (np.column_stack([one[k] for one in cells]) for k in (0, 1))
        beyond = (begin + size / 2 < 0) | (begin + size / 2 > self.nodes.lengths)
        return self.over(np.clip(begin, 0, self.nodes.lengths), np.where(beyond, 0, size))

    def over(self, begin: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The averages over any rectangles, of the corners `begin` and the sides `size`, (rectangles, 2) each.

        Along an axis on which a rectangle has no size the tensor stays diagonal.
        """
        centres = begin + size / 2
        distance, nearest = self._distance(centres, np.hypot(*size.T).max() / 2)
        share = (distance < 0).astype(float)
        near = np.flatnonzero(np.abs(distance) < np.hypot(*size.T) / 2)
        line = (np.arange(PARTS) + 0.5) / PARTS
        offsets = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        inside = [
            self._distance((begin[part, None] + offsets * size[part, None]).reshape(-1, 2), 0.0)[0] < 0
            for part in np.array_split(near, 16)
        ]
        share[near] = np.concatenate(inside).reshape(-1, PARTS**2).mean(axis=1)
        normal = np.where(size == 0, 0, centres - self.disks[nearest, :2]).T
        normal = normal / np.maximum(np.hypot(*normal), 1e-300)
        across = 1 / (1 - share + share * self.density)
        along = 1 - share + share / self.density
        outer = normal[:, None] * normal[None]
        tensor = outer * across + (np.eye(2)[..., None] - outer) * along
        return 1 / (1 - share + share / self.bulk_modulus), tensor

    def _distance(self, places: np.ndarray, band: float) -> tuple[np.ndarray, np.ndarray]:
        """(places,) from the nearest circle, negative inside of it, and the number of that one; infinite, and any
        number, farther than `band` outside of all."""
        best, nearest = np.full(len(places), np.inf), np.zeros(len(places), int)
        tree = cKDTree(places)
        for number, (x, y, radius) in enumerate(self.disks):
            here = np.array(tree.query_ball_point((x, y), radius + band), int)
            distance = np.hypot(places[here, 0] - x, places[here, 1] - y) - radius
            closer = distance < best[here]
            best[here[closer]], nearest[here[closer]] = distance[closer], number
        return best, nearest


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages that are known (upscaling.py). bulk_modulus: (element points,), and inverse_density (2, 2, element
    points), the tensor 1/rho, at those of the mesh `nodes`."""

    nodes: Nodes
    bulk_modulus: np.ndarray
    inverse_density: np.ndarray

    def evaluate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As Raster, at all points of the mesh's elements in their order.

        Raises:
            WavesimError: places of another mesh.
        """
        along_x, along_y = (axis.element_points.ravel() for axis in self.nodes.axes)
        if len(places) != along_x.size * along_y.size or abs(places[-1] - (along_x[-1], along_y[-1])).max() > 1e-6:
            raise WavesimError(
                f"averages over {self.nodes.elements} elements are asked for on another mesh: give theirs"
            )
        return self.bulk_modulus, self.inverse_density
