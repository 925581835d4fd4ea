"""What takes a training's steps: Adam, or Muon for the matrices among the weights and Adam for all others.

    Muon:   M <- mu M + G,    W <- W - lr 0.2 sqrt(max(rows, columns)) orthogonal(G + mu M)
orthogonal(M) = U V' of M = U S V', by five iterations of Newton and Schulz: every direction of the gradient, down to
about a hundredth of the largest, counts alike. A filter's weight (out, in, taps...) is a matrix (out, in taps);
depthwise filters and biases are none. The factor makes a step's root mean square 0.2 lr, about Adam's, so that one rate
serves both. Newton and Schulz run in bfloat16: processes that share a batch come to other weights than one, by 6e-3
after 30 steps, with Adam by rounding.

Sources: Jordan et al., "Muon", 2024; Liu et al., arXiv 2502.16982, section 2.2, for the factor. Adam: arXiv 1412.6980.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from wavesim.config import TrainingConfig
from wavesim.errors import WavesimError


def optimizer_of(weights: Iterable[torch.nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer of these settings.

    Raises:
        WavesimError: Muon for complex weights, of which it knows no orthogonal matrix.
    """
    weights = list(weights)
    if config.optimizer == "adam":
        return torch.optim.Adam(weights, lr=config.learning_rate)
    if any(weight.is_complex() for weight in weights):
        raise WavesimError("optimizer muon: this network has complex weights, as Fourier modes are; use adam")
    from pytorch_optimizer import Muon  # inside the function: its hundred optimizers take a second to import

    matrices = [weight for weight in weights if is_matrix(weight)]
    others = [weight for weight in weights if not is_matrix(weight)]
    groups = [
        {"params": matrices, "use_muon": True, "lr": config.learning_rate, "use_adjusted_lr": True},
        {"params": others, "use_muon": False, "lr": config.learning_rate, "betas": (0.9, 0.999), "eps": 1e-8},
    ]
    return Muon([group for group in groups if group["params"]])


def is_matrix(weight: torch.Tensor) -> bool:
    """Whether a weight mixes channels: of (out, in, taps...) with more than one of both."""
    return weight.ndim > 1 and min(weight.shape[:2]) > 1
