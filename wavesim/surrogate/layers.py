"""Spatial filters in two families with one interface, mirrored at rigid walls.

    classical   y = sum_{i,j} W[:, :, i, j] x(. + i, . + j)                         k k C D weights
    one-way     y = C ( sum over axes a of f_a * (A x) ),  A: C -> R, f_a: k taps a rank, C: R -> D    R (C + D + 2 k)
The one-way layer is a CP tensor whose axis filters stand side by side and are summed, so that rank 2 already holds a
Laplacian, which a product of axis filters cannot. It is compressed a priori: it never had the k x k kernel
(Boukraichi et al., arXiv 2304.04964; Lebedev et al., arXiv 1412.6553, for the CP form).

There is no bias: in these layers nothing comes from nothing, and a cut channel is exactly zero.
A rigid wall is a mirror: the field is continued evenly about the wall, which lies between two cells.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def mirrored(field: torch.Tensor, cells: int, axis: int) -> torch.Tensor:
    """(batch, channel, y, x) continued evenly by `cells` cells about both walls of one axis (-1: x, -2: y)."""
    low = field.narrow(axis, 0, cells).flip(axis)
    high = field.narrow(axis, field.shape[axis] - cells, cells).flip(axis)
    return torch.cat((low, field, high), dim=axis)


class ClassicalFilter(nn.Module):
    """A dense k x k convolution, `channels_in` to `channels_out` channels."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int):
        super().__init__()
        self.reach = kernel_size // 2
        self.kernel = nn.Parameter(torch.empty(channels_out, channels_in, kernel_size, kernel_size))
        nn.init.normal_(self.kernel, std=(channels_in * kernel_size**2) ** -0.5)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """(batch, channel, y, x) -> the same grid."""
        return F.conv2d(mirrored(mirrored(field, self.reach, -1), self.reach, -2), self.kernel)


class OneWayFilter(nn.Module):
    """Rank R of one-way filters: 1 x 1 to R channels, k taps along each axis side by side, 1 x 1 out."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, rank: int):
        super().__init__()
        self.reach = kernel_size // 2
        self.inward = nn.Parameter(torch.empty(rank, channels_in, 1, 1))
        self.along_x = nn.Parameter(torch.empty(rank, 1, 1, kernel_size))
        self.along_y = nn.Parameter(torch.empty(rank, 1, kernel_size, 1))
        self.outward = nn.Parameter(torch.empty(channels_out, rank, 1, 1))
        # Variances multiply to that of the classical layer: a field of unit variance keeps it.
        nn.init.normal_(self.inward, std=channels_in**-0.5)
        nn.init.normal_(self.along_x, std=(2 * kernel_size) ** -0.5)
        nn.init.normal_(self.along_y, std=(2 * kernel_size) ** -0.5)
        nn.init.normal_(self.outward, std=rank**-0.5)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """(batch, channel, y, x) -> the same grid."""
        inner = F.conv2d(field, self.inward)
        rank = inner.shape[1]
        filtered = F.conv2d(mirrored(inner, self.reach, -1), self.along_x, groups=rank)
        filtered = filtered + F.conv2d(mirrored(inner, self.reach, -2), self.along_y, groups=rank)
        return F.conv2d(filtered, self.outward)

    def kernel(self) -> torch.Tensor:
        """The k x k kernel (out, in, k, k) of the classical filter that does the same."""
        taps = self.along_x.shape[-1]
        cross = torch.zeros(len(self.inward), taps, taps, dtype=self.inward.dtype, device=self.inward.device)
        cross[:, self.reach, :] += self.along_x[:, 0, 0]
        cross[:, :, self.reach] += self.along_y[:, 0, :, 0]
        return torch.einsum("or,rij,rc->ocij", self.outward[..., 0, 0], cross, self.inward[..., 0, 0])


def make_filter(convolution: str, channels_in: int, channels_out: int, kernel_size: int, rank: int) -> nn.Module:
    """The filter of a family; `rank` is that of the one-way filter and means nothing to the classical one."""
    if convolution == "classical":
        return ClassicalFilter(channels_in, channels_out, kernel_size)
    return OneWayFilter(channels_in, channels_out, kernel_size, rank)
