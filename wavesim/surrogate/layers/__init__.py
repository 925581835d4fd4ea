"""One factory for every spatial filter: classical, depthwise, and the one-way family, in two and three dimensions.

    y = W * x + b    W of k^d taps, and in the one-way family made of filters along one axis at a time
The one-way family is compressed a priori: it never had the k^d kernel. It is our reading of the abstract of Boukraichi,
Akkari, Casenave and Ryckelynck (arXiv 2304.04964), "3-way or 2-way kernels ... replaced by one-way filters"; the text
of the paper was not at hand, and which of these forms it uses, if any, we do not know. Relatives in print: CP (Lebedev
et al., arXiv 1412.6553), flattened (Jin et al., arXiv 1412.5474), chain (Ioannou et al., arXiv 1511.06744), tensor
train (Garipov et al., arXiv 1611.03214), sums over axes (Tran et al., arXiv 2111.13802). What each costs: stages.py.

The one to take is `cp`, with the axis filters side by side: rank 1 holds a Laplacian, which a product of axis filters
cannot, and one frame of waves was learned to an error of 10.7 % where the same weights in series came to 11.9 %
(benchmarks/layers.py: mean of three seeds, each of them better). With more weights to spend, `sum` came to 6.6 %, as
near as the classical kernel (6.5 %), with 0.4 of its weights and half of its time in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from wavesim.errors import WavesimError
from wavesim.surrogate.layers.convolution import Convolution
from wavesim.surrogate.layers.cp import CPConvolution
from wavesim.surrogate.layers.padding import BOUNDARIES, Boundary, Padding, by_axis, continued
from wavesim.surrogate.layers.stages import KINDS, RANKED, recipe

__all__ = [
    "BOUNDARIES",
    "KINDS",
    "RANKED",
    "Boundary",
    "CPConvolution",
    "Convolution",
    "continued",
    "make_conv",
    "pointwise",
]


def pointwise(channels_in: int, channels_out: int, *, dim: int = 2, bias: bool = False) -> nn.Conv2d | nn.Conv3d:
    """What mixes channels in each cell alone, and is the same in every family: a stem, a head, gates."""
    made: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if dim == 2 else nn.Conv3d
    return made(channels_in, channels_out, 1, bias=bias)


def make_conv(
    kind: str,
    channels_in: int,
    channels_out: int,
    kernel_size: int | Sequence[int],
    *,
    dim: int = 2,
    rank: int | None = None,
    padding: Padding = "mirror",
    bias: bool = False,
    stride: int | Sequence[int] = 1,
) -> Convolution:
    """A convolution on (batch, channel, y, x), or (batch, channel, time, y, x) where `dim` is 3.

    Args:
        kind: one of KINDS.
        kernel_size: taps along every axis, or along each; what it exceeds the stride by is even, so that no side of the
            field is preferred: odd where nothing is strided, 2, 4 or 6 at stride 2.
        rank: of the kinds in RANKED, others have none; by default half of the fewer channels, at least `dim`.
        padding: the boundary for all sides, or one for each axis in the order of the axes, there a pair where the low
            and the high side differ: ("odd", ("zero", "mirror")) is soft along y, silent left of x, rigid right of it.
        bias: one number for each channel out, at the very end.
        stride: cells that become one along every axis, or along each.
    Raises:
        WavesimError: a kind, boundary, size or number of axes that there is not.
    """
    if kind not in KINDS:
        raise WavesimError(f"convolution {kind!r} is not known; choose from {', '.join(KINDS)}")
    if dim not in (2, 3):
        raise WavesimError(f"dim is {dim}; a convolution has 2 axes (y, x) or 3 (time, y, x)")
    if kind == "depthwise" and channels_in != channels_out:
        raise WavesimError(
            f"a depthwise convolution keeps its channels, got {channels_in} in and {channels_out} out; "
            "`separable` is the one with a 1 x 1 convolution behind it"
        )
    rank = max(dim, min(channels_in, channels_out) // 2) if rank is None else rank
    taps, steps = _each("kernel_size", kernel_size, dim), _each("stride", stride, dim)
    if min(channels_in, channels_out, rank, *taps, *steps) < 1:
        raise WavesimError(
            f"channels {channels_in} to {channels_out}, rank {rank}, kernel_size {taps}, stride {steps}: take 1 or more"
        )
    if any(size < step or (size - step) % 2 for size, step in zip(taps, steps, strict=True)):
        raise WavesimError(
            f"kernel_size {taps} with stride {steps} does not lie evenly about the cells that become one; "
            "take an odd size at stride 1, and 2, 4 or 6 at stride 2"
        )
    made = CPConvolution if kind in ("cp", "cp-series") else Convolution
    return made(recipe(kind, channels_in, channels_out, rank, dim), taps, by_axis(padding, dim), bias, steps)


def _each(name: str, value: int | Sequence[int], dim: int) -> tuple[int, ...]:
    values = (value,) * dim if isinstance(value, int) else tuple(value)
    if len(values) != dim:
        raise WavesimError(f"{name} {values} names {len(values)} axes; the convolution has {dim}")
    return values
