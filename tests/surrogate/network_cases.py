"""Small forecasters of every network, with weights that do something from the start."""

from importlib.util import find_spec

import pytest
import torch

from wavesim.config import ForecasterConfig
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.networks import NETWORKS

OURS = ("gated", "unet", "space-time")
LOCAL = (*OURS, "classic-unet", "convnext-unet")
"""Networks of convolutions: what they forecast for a cell depends on the cells around it alone."""
NEEDS = pytest.mark.skipif(find_spec("neuralop") is None, reason="neuraloperator is an optional extra")
EVERY = [name if name in LOCAL else pytest.param(name, marks=NEEDS) for name in NETWORKS]

SMALL = {"width": 8, "ranks": (8, 8), "kernel_size": 3, "encoder_width": 8, "encoder_ranks": (4, 4), "modes": 6}
PERIODIC, RIGID, SOFT = ("periodic",) * 4, ("rigid",) * 4, ("soft",) * 4


def forecaster(network: str, **settings: object) -> Forecaster:
    """Every weight counts: also the last layer, the gates' biases and the scales of the ConvNeXt blocks."""
    torch.manual_seed(0)
    model = Forecaster(ForecasterConfig(**{"network": network, **SMALL, **settings}), 2.0)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("gamma", "bias")) or not weight.any():
                weight.copy_(0.3 * torch.randn(weight.shape))
    return model.eval()


def fields(batch: int = 2, grid: tuple[int, int] = (16, 16), seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """States and media (batch, 2, y, x)."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, *grid, generator=rng), 1 + torch.rand(batch, 2, *grid, generator=rng)


@torch.no_grad()
def forecast(model: Forecaster, state: torch.Tensor, medium: torch.Tensor) -> torch.Tensor:
    """One frame."""
    return model(state, model.encode(medium))
