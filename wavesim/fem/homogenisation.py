"""The uniform medium that long waves take a structured one for: homogenisation, by one static problem an axis.

    1/kappa_eff = <1/kappa>,        e . R_eff . e = min over chi of < (e + grad chi) . (1/rho) (e + grad chi) >

with <.> the average over the domain and R_eff the effective tensor 1/rho; the speed along a principal axis e is
sqrt(kappa_eff e . R_eff . e). Between periodic sides chi is periodic. Between rigid ones the domain and its mirror
images are the structure: then chi vanishes at the walls across e and is free at those along it, and R_eff is diagonal.
In the elements' space, x + chi_x and y + chi_y are nodal fields p_a, and R_ab = p_a^T K p_b over the area.

Bounds: 1/<rho> <= e . R_eff . e <= <1/rho> (in series, side by side).

Reference: Bensoussan, Lions, Papanicolaou, Asymptotic Analysis for Periodic Structures (1978), chapter 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from wavesim.errors import WavesimError
from wavesim.fem.boundary import Sides, unknowns
from wavesim.fem.margins import sides_of_rectangle
from wavesim.fem.medium import Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.raster import Raster
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import values
from wavesim.fem.space import Space


@dataclass(frozen=True, eq=False)
class Effective:
    """kappa_eff, and R_eff (2, 2), x first, the tensor 1/rho; nondimensional."""

    bulk_modulus: float
    inverse_density: np.ndarray

    @property
    def wave_speed(self) -> np.ndarray:
        """(2,) of long waves along x and along y, where these are principal axes."""
        return np.sqrt(self.bulk_modulus * np.diag(self.inverse_density))


def effective(
    medium: Medium | Materials | Raster, mesh: Nodes | Mesh, sides: Sides | None = None, degree: int = 4
) -> Effective:
    """What long waves see of a medium on a mesh; the arguments are those of `assemble`.

    Args:
        sides: rigid all four, as by default, or periodic all four.
    Raises:
        WavesimError: other sides; a mesh that does not fill a rectangle; dolfinx is not installed; a value of the
            medium that is not positive.
    """
    sides = sides or Sides()
    if sides not in (Sides.all("rigid"), Sides.all("periodic")):
        raise WavesimError(f"an effective medium takes four rigid or four periodic sides, not {sides}")
    if isinstance(mesh, Mesh):
        sides_of_rectangle(mesh, "an effective medium is that of")
    # Inside the function, so that the package is there without dolfinx.
    from wavesim.fem import _dolfinx

    space = _dolfinx.space(mesh) if isinstance(mesh, Nodes) else _dolfinx.mesh_space(mesh, degree)
    bulk_modulus, density = values(medium, space)
    stiffness = space.stiffness(density)
    fields = straight_fields(space, stiffness, sides)
    area = float(space.weights.sum())
    tensor = fields @ (stiffness @ fields.T) / area
    if sides.left == "rigid":  # the mirror images cancel what this quarter of the structure has off the diagonal
        tensor = np.diag(np.diag(tensor))
    return Effective(area / float(space.mass(bulk_modulus).sum()), tensor)


def straight_fields(space: Space, stiffness: sparse.csr_matrix, sides: Sides) -> np.ndarray:
    """p_a = a + chi_a for a = x and y, (2, nodes), between rigid or periodic sides."""
    fields = []
    for axis, held in enumerate((Sides(left="soft", right="soft"), Sides(bottom="soft", top="soft"))):
        prolongation = unknowns(space.points, sides if sides.left == "periodic" else held)
        if sides.left == "periodic":
            prolongation = prolongation[:, 1:]  # one node holds the constant that chi leaves open
        straight = space.points[:, axis]
        factor = splu((prolongation.T @ stiffness @ prolongation).tocsc())
        fields.append(straight - prolongation @ factor.solve(prolongation.T @ (stiffness @ straight)))
    return np.array(fields)
