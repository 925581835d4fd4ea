"""Compressed a posteriori: the kernels of a trained classical forecaster, decomposed and trained on.

    W[o, c, i, j] = sum_r C[o, r] A[r, c] F[r, i] G[r, j]    by alternating least squares (tensorly)
a rank of which is a 1 x 1 convolution, a filter along each axis, and a 1 x 1 convolution: `cp-series`. The gates, the
stem and the head stay as they are.

Reference: Lebedev et al., arXiv 1412.6553.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import tensorly
import torch
from tensorly.decomposition import parafac

from wavesim.config import TrainingConfig
from wavesim.surrogate import Forecaster
from wavesim.surrogate.layers import Convolution
from wavesim.surrogate.train import fit

SWEEPS = 300
REGULARISED = 1e-9  # least squares of more ranks than a kernel has would be singular


def decomposed(model: Forecaster, rank: int) -> Forecaster:
    """The same forecaster with every classical filter as `rank` ranks."""
    changes = {"convolution": "cp-series", "ranks": (rank,) * len(model.config.ranks), "encoder_ranks": (rank, rank)}
    found = Forecaster(model.config.model_copy(update=changes), model.courant)
    own = model.state_dict()
    found.load_state_dict({name: value for name, value in own.items() if name in found.state_dict()}, strict=False)
    for name, layer in found.named_modules():
        if isinstance(layer, Convolution):
            _fill(layer, own[f"{name}.weight"].double().numpy(), rank)
    return found.eval()


@torch.no_grad()
def _fill(layer: Convolution, kernel: np.ndarray, rank: int) -> None:
    with tensorly.backend_context("numpy"):  # neuraloperator has set another
        sizes, factors = parafac(
            kernel, rank, n_iter_max=SWEEPS, init="random", random_state=0, l2_reg=REGULARISED, normalize_factors=True
        )
    share = np.abs(sizes) ** 0.25  # of the rank's size for each factor
    outward, inward, along_y, along_x = (torch.from_numpy(part * share).float() for part in factors)
    layer.get_parameter("outward").copy_((outward * torch.from_numpy(np.sign(sizes)).float())[:, :, None, None])
    layer.get_parameter("inward").copy_(inward.T[:, :, None, None])
    layer.get_parameter("along_y").copy_(along_y.T[:, None, :, None])
    layer.get_parameter("along_x").copy_(along_x.T[:, None, None, :])


def tuned(model: Forecaster, data: Path, training: TrainingConfig, seed: int, folder: Path) -> Forecaster:
    """Trained on for as many iterations as the classical one had."""
    fit(model, data, training, seed, folder)
    shutil.rmtree(folder)
    return model.eval()
