"""The coarse step of `effective` forecasters with coefficients that are computed and not learned: the tensor 1/rho that
grains make of a cell.

With R = n n^T / <rho> + (1 - n n^T) <1/rho> (fem/raster.py) over a square as large as a cell, and C the Courant number,
    G = C^2 R_xx around the middle of a face across x, R_yy of one across y
    T = C^2 R_xy around a corner, held where the sum over corners takes less than the faces give (effective.py)
    S = 0, or a twelfth of the least G of a cell's two faces: the Laplacian of fourth order
    k = 1 / <1/kappa> of the cell
It runs in the same compiled loops as those forecasters, on any grid, with the fewest sub-steps that are stable.

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


class TensorStep(EffectiveStep):
    """Between rigid walls. order: of the Laplacian, 2 or 4."""

    def __init__(self, config: ForecasterConfig, courant: float, case: Case, cells: int, order: int):
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
        self.along = least / 12 if order == 4 else 0 * least

    def stencil(self, medium: torch.Tensor) -> torch.Tensor:
        links = self.links_of(self.faces, self.along, self.corners)
        return torch.cat((self.kappa_of_cells * links, self.kappa_of_cells), dim=1).expand(len(medium), -1, -1, -1)

    def granted(self, medium: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(medium[:, :1, :1, :1])


def tensor_step(case: Case, cells: int, order: int) -> Forecaster:
    """A forecaster that is this step, and knows no other medium."""
    config = ForecasterConfig(network="effective", convolution="classical", ranks=(1,), substeps=1)
    model = Forecaster(config, case.config.frame_interval * cells)
    model.coarse = TensorStep(config, model.courant, case, cells, order)
    return model.eval()
