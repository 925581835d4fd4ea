"""Small forecasters with the effective step, media with contrast, and their operators as dense matrices."""

import numpy as np
import torch

from wavesim.config import ForecasterConfig
from wavesim.surrogate.models import Forecaster

SIDES = (
    ("rigid",) * 4,
    ("soft",) * 4,
    ("periodic",) * 4,
    ("absorbing",) * 4,
    ("rigid", "soft", "absorbing", "rigid"),
    ("periodic", "periodic", "soft", "absorbing"),
)
SMALL = {"ranks": (4, 4), "kernel_size": 3, "encoder_width": 8, "encoder_ranks": (4, 4), "substeps": 6}
GRID = (9, 7)


def untrained(courant: float = 2.0, **settings: object) -> Forecaster:
    torch.manual_seed(0)
    config = ForecasterConfig(**{"network": "effective", **SMALL, **settings})  # type: ignore[arg-type]
    return Forecaster(config, courant).eval()


def forecaster(size: float = 0.3, courant: float = 2.0, **settings: object) -> Forecaster:
    """As if trained: the last layer and the biases are drawn, too."""
    model = untrained(courant, **settings)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "head" in name or name.endswith("bias"):
                weight.copy_(size * torch.randn(weight.shape))
    return model


def contrast(batch: int = 2, grid: tuple[int, int] = GRID, seed: int = 1) -> torch.Tensor:
    """Media (batch, 2, y, x) of two materials, (1, 1) and (20, 5), at random in every cell."""
    stiff = torch.rand(batch, 1, *grid, generator=torch.Generator().manual_seed(seed)) > 0.6
    return torch.cat((torch.where(stiff, 20.0, 1.0), torch.where(stiff, 5.0, 1.0)), dim=1)


def states(batch: int = 2, grid: tuple[int, int] = GRID, seed: int = 2) -> torch.Tensor:
    return torch.randn(batch, 2, *grid, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def stiffness(model: Forecaster, medium: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """A/kappa of a medium (1, 2, y, x) as a dense matrix, and kappa in every cell; in double precision."""
    model, medium = model.double(), medium.double()
    stencil, cells = model.coarse.stencil(medium), medium[0, 0].numel()
    units = torch.eye(cells, dtype=torch.float64).reshape(cells, 1, *medium.shape[-2:])
    image = model.coarse.acceleration(units, stencil.expand(cells, -1, -1, -1)).reshape(cells, cells)
    kappa = model.coarse.kappa(stencil).flatten()
    return (-image.T / kappa[:, None]).numpy(), kappa.numpy()


def eigenvalues(model: Forecaster, medium: torch.Tensor) -> np.ndarray:
    """Of A, ascending."""
    matrix, kappa = stiffness(model, medium)
    return np.linalg.eigvalsh(np.sqrt(kappa)[:, None] * (matrix + matrix.T) / 2 * np.sqrt(kappa))
