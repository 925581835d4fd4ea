"""The PQ index of a vector, and how much of the vector it allows to be pruned.

For w of length d and 0 < p < q:
    I(w) = 1 - d^(1/q - 1/p) |w|_p / |w|_q                        0: all magnitudes equal; 1 - d^(1/q - 1/p): one spike
    r(w) = d (1 + eta)^(-q/(q-p)) (1 - I)^(pq/(q-p))              at least so many weights have to stay
    removed = floor( d clamp( gamma (1 - ceil(r) / d), 0, beta ) )
If the l_p mass (sum of |w|^p) of what is removed is at most eta times that of the n weights that stay, then n >= r.
The index does not change when w is scaled or repeated. With (p, q) = (1/2, 1) and eta = 0 the share r/d is 1 - I.

Diao et al., Pruning deep neural networks from a sparsity perspective, ICLR 2023, arXiv 2302.05601.
Gini index: Hurley and Rickard, Comparing measures of sparsity, arXiv 0811.4706.

Every entry of the vector counts, zeros too: who prunes in rounds passes the weights that are left. An empty vector and
one of zeros have no index; it is taken as 0, nothing to remove, as the paper's authors do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from wavesim.errors import WavesimError

Vector = torch.Tensor | np.ndarray | Sequence[float]

ROUNDING = 1e-9
"""Before ceil and floor: r = 1 must not become 2 because it was computed as 1 + 2e-16."""


def pq_index(w: Vector, p: float = 0.5, q: float = 1.0) -> float:
    """The PQ index of all entries of `w`, in [0, 1).

    Raises:
        WavesimError: exponents other than 0 < p < q, or entries that are not finite.
    """
    return 1 - _evenness(w, p, q)


def kept_bound(w: Vector, p: float = 0.5, q: float = 1.0, eta: float = 0.0) -> float:
    """r above: at least so many entries of `w` have to stay, in [0, d]; 0 for an empty vector.

    Raises:
        WavesimError: as `pq_index`, or a negative eta.
    """
    if eta < 0:
        raise WavesimError(f"eta {eta} is negative; it is a share of mass, 0 or more")
    evenness = _evenness(w, p, q)
    return _magnitudes(w).numel() * (1 + eta) ** (-q / (q - p)) * evenness ** (p * q / (q - p))


def count_to_remove(
    w: Vector, p: float = 0.5, q: float = 1.0, eta: float = 0.0, gamma: float = 1.0, beta: float = 0.9
) -> int:
    """How many entries of `w` one round removes, at most the share `beta`.

    Raises:
        WavesimError: as `kept_bound`, a negative gamma, or a beta outside of [0, 1].
    """
    if gamma < 0 or not 0 <= beta <= 1:
        raise WavesimError(f"gamma {gamma} and beta {beta}: gamma must be 0 or more, beta between 0 and 1")
    length = _magnitudes(w).numel()
    if length == 0:
        return 0
    kept = math.ceil(kept_bound(w, p, q, eta) - ROUNDING)
    share = min(max(gamma * (1 - kept / length), 0.0), beta)
    return math.floor(length * share + ROUNDING)


def gini_index(w: Vector) -> float:
    """1 - 2 sum over k of (|w|_(k) / |w|_1) (d - k + 1/2) / d, magnitudes ascending; 0 where there is nothing.

    Raises:
        WavesimError: entries that are not finite.
    """
    magnitudes = _magnitudes(w).sort().values
    if not magnitudes.any():
        return 0.0
    length = magnitudes.numel()
    ranks = torch.arange(1, length + 1, dtype=torch.float64)
    return float(1 - 2 * (magnitudes / magnitudes.sum() * (length - ranks + 0.5) / length).sum())


def _evenness(w: Vector, p: float, q: float) -> float:
    """1 - I, in (0, 1]: of its own, because a small one has lost its digits once it was subtracted from 1 in I."""
    if not 0 < p < q:
        raise WavesimError(f"p {p} and q {q} make no PQ index: it takes 0 < p < q, such as (0.5, 1) or (1, 2)")
    magnitudes = _magnitudes(w)
    if not magnitudes.any():
        return 1.0
    mean_p, mean_q = (float((magnitudes**power).mean() ** (1 / power)) for power in (p, q))
    return min(mean_p / mean_q, 1.0)


def _magnitudes(w: Vector) -> torch.Tensor:
    """|w| / max |w|, flat and in double precision: the indices do not see scale, and no power of it overflows."""
    magnitudes = torch.as_tensor(w, dtype=torch.float64).detach().cpu().abs().flatten()
    if not torch.isfinite(magnitudes).all():
        raise WavesimError("the weights to prune are not all finite; the training that made them was unstable")
    largest = magnitudes.max() if magnitudes.numel() else magnitudes.new_zeros(())
    return magnitudes / largest if largest > 0 else magnitudes
