"""The coarse step of `effective` forecasters with coefficients that are computed and not learned: the tensor 1/rho that
grains make of a cell.

With R = n n^T / <rho> + (1 - n n^T) <1/rho> (fem/raster.py) over a square as large as a cell, and C the Courant number,
    G = C^2 R_xx around the middle of a face across x, R_yy of one across y
    T = C^2 R_xy around a corner, held where the sum over corners takes less than the faces give (effective.py)
    S = f/12 of the least G of a cell's two faces: with the spread f = 1 the Laplacian of fourth order, with 0 of second
    k = 1 / <1/kappa> of the cell
It runs in the same compiled loops as those forecasters, on any grid, with the fewest sub-steps that are stable.

The best f is not 1. A wave of wavenumber q (a cell) at the angle a, in sub-steps tau of local Courant number
mu^2 = k G tau^2, has omega^2 = k G q^2 (1 - ((1 - f) (cos^4 a + sin^4 a) - mu^2) q^2 / 12 + ...), so that f = 1 leaves
the error in time alone. The two cancel along the axes for f = 1 - mu^2, in the mean over all angles for
f = 1 - 4/3 mu^2, which is sqrt(2) - 1 at the limit of stability, mu^2 (8 + 8 f/3) = 4, and 1 in slow media. Where
m = 1/kappa jumps, f = 1/2: differences weigh it by a hat, m + m''/12, cells by a box, m + m''/24, and S adds f m''/12.
Where densities jump and grains have few cells, f above 1 was better. No f of one cell knows all of this (f =
1 - 4/3 mu^2 cell by cell was worse than the best constant on each of nine grids): of SPREADS, each size takes the one
that errs least in a packing that does not test.

Reference: Moczo et al., Bull. Seismol. Soc. Am. 92 (2002) 3042-3066.
"""

from __future__ import annotations

import numpy as np
import torch
from pareto_cases import Case

from wavesim.config import ForecasterConfig
from wavesim.fem import Nodes, Raster
from wavesim.fem.window import seen
from wavesim.surrogate import Forecaster
from wavesim.surrogate.coarse import EDGES
from wavesim.surrogate.effective import EffectiveStep

HELD = 0.99  # of the bound on T
SPREADS = 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5


class TensorStep(EffectiveStep):
    """Between rigid walls. spread: f."""

    def __init__(self, config: ForecasterConfig, courant: float, case: Case, cells: int, spread: float):
        super().__init__(config, courant)
        settings = case.config
        disks = seen(case.packing.positions, case.packing.radii, settings.radius_scale)
        raster = Raster(disks, settings.bulk_modulus, settings.density, Nodes((cells, cells), 1))
        x, y = np.meshgrid(np.arange(cells), np.arange(cells))

        def over(shift_x: float, shift_y: float) -> tuple[torch.Tensor, torch.Tensor]:
            """kappa (y, x) and C^2 R (2, 2, y, x) of squares that lie so many cells beside the cells."""
            begin = np.stack((x + shift_x, y + shift_y), axis=-1).reshape(-1, 2) / cells
            begin = np.clip(begin, 0, 1 - 1 / cells)  # what would lie beyond a wall is not read
            kappa, tensor = raster.over(begin, np.full_like(begin, 1 / cells))
            tensor = courant**2 * tensor.reshape(2, 2, cells, cells)
            return torch.from_numpy(kappa.reshape(cells, cells)).float(), torch.from_numpy(tensor).float()

        kappa, right, top = over(0, 0)[0], over(0.5, 0)[1][0, 0], over(0, 0.5)[1][1, 1]
        left, bottom = right.roll(1, dims=1), top.roll(1, dims=0)
        self.kappa_of_cells, self.faces = kappa[None, None], torch.stack((right, left, top, bottom))[None]
        bound = HELD * self.meeting(self.faces) / 2
        self.corners = over(0.5, 0.5)[1][0, 1][None, None].clamp(-bound, bound)
        inner = self.faces.clone()
        for face, name in enumerate(("right", "left", "top", "bottom")):
            inner[:, face][EDGES[name]] = inner[:, face ^ 1][EDGES[name]]
        least = torch.stack((inner[:, :2].amin(dim=1), inner[:, 2:].amin(dim=1)), dim=1)
        self.along = spread * least / 12

    def stencil(self, medium: torch.Tensor) -> torch.Tensor:
        links = self.links_of(self.faces, self.along, self.corners)
        return torch.cat((self.kappa_of_cells * links, self.kappa_of_cells), dim=1).expand(len(medium), -1, -1, -1)

    def granted(self, medium: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(medium[:, :1, :1, :1])


def tensor_step(case: Case, cells: int, spread: float) -> Forecaster:
    """A forecaster that is this step, and knows no other medium."""
    config = ForecasterConfig(network="effective", convolution="classical", ranks=(1,), substeps=1)
    model = Forecaster(config, case.config.frame_interval * cells)
    model.coarse = TensorStep(config, model.courant, case, cells, spread)
    return model.eval()
