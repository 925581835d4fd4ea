"""A packing from its file as a resolved medium with the mesh that goes with it: `assemble(*from_packing(...), ...)`.

    conforming    cells that follow the grains, the medium by their tags (conforming_mesh.py)
    raster        equal squares, the medium by averages about their points (raster.py)

Reference: of each road, in its file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive
from wavesim.fem.conforming_mesh import conforming
from wavesim.fem.medium import Materials
from wavesim.fem.mesh import Mesh
from wavesim.fem.packing_mesh import SquarePacking, one
from wavesim.fem.raster import Raster
from wavesim.fem.sampling import Nodes
from wavesim.fem.window import seen


def from_packing(
    packing: SquarePacking | str | Path,
    number: int = 0,
    road: Literal["conforming", "raster"] = "conforming",
    bulk_modulus: float = 20.0,
    density: float = 5.0,
    radius_scale: float = 0.95,
    element_size: float = 0.03,
    degree: int = 4,
) -> tuple[Materials, Mesh] | tuple[Raster, Nodes]:
    """The medium and the mesh of the unit square with a packing's grains in the background kappa = rho = 1.

    Args:
        packing: of the unit square, or packings.h5, of which the one of that `number` is taken.
        bulk_modulus, density: of the grains. radius_scale: multiplies the radii, which opens gaps where grains touch.
        element_size: edge of an element, in sides of the square. degree: of the raster's elements.
    Raises:
        WavesimError: no such packing or road, a value out of range, a packing that cannot be meshed, no gmsh.
    """
    require_positive("bulk_modulus of the grains", bulk_modulus)
    require_positive("density of the grains", density)
    packing = one(packing, number)
    if road == "conforming":
        mesh = conforming(packing, radius_scale, element_size, math.sqrt(bulk_modulus / density))
        return Materials((1.0, bulk_modulus), (1.0, density)), mesh
    if road != "raster":
        raise WavesimError(f"road {road!r} must be 'conforming' or 'raster'")
    require_positive("element_size", element_size)
    elements = math.ceil(1 / element_size - 1e-9)
    nodes = Nodes((elements, elements), degree)
    return Raster(seen(packing.positions, packing.radii, radius_scale), bulk_modulus, density, nodes), nodes
