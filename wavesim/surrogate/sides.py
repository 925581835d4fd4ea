"""The sides of the domain, as a forecaster meets them: how fields go on beyond the last cell, by padding.

    side        state and what is linear in it      medium
    rigid       even about the wall                 even
    soft        odd about the wall                  even
    periodic    from the other end                  from the other end
    absorbing   zero                                as at the edge
The even and the odd continuation send a wave back with the sign + and -; zero is the mean of the two. Sides are told
as left, right, bottom, top, the axes of an array are (y, x), and bottom and left are where its indices begin.
"""

from __future__ import annotations

import torch

from wavesim.config import Side
from wavesim.errors import WavesimError
from wavesim.surrogate.layers.padding import Boundary, continued

Sides = tuple[Side, Side, Side, Side]
Padding = tuple[tuple[Boundary, Boundary], tuple[Boundary, Boundary]]
"""Of the axes (y, x), at their low and their high end."""

STATE: dict[Side, Boundary] = {"rigid": "mirror", "soft": "odd", "periodic": "periodic", "absorbing": "zero"}
MEDIUM: dict[Side, Boundary] = {"rigid": "mirror", "soft": "mirror", "periodic": "periodic", "absorbing": "replicate"}


def padding(sides: Sides, kinds: dict[Side, Boundary]) -> Padding:
    """How a field goes on beyond each side; `kinds` is STATE or MEDIUM."""
    left, right, bottom, top = (kinds[side] for side in sides)
    return (bottom, top), (left, right)


def around(field: torch.Tensor, cells: int, beyond: Padding) -> torch.Tensor:
    """(batch, channel, y, x) with `cells` more cells on all four sides."""
    return continued(continued(field, cells, -2, beyond[0]), cells, -1, beyond[1])


def brought_up(grid: tuple[int, int], multiple: int, beyond: Padding) -> tuple[int, int]:
    """The sizes (y, x), each brought up to a multiple of `multiple`.

    Raises:
        WavesimError: a periodic axis that would have to be, which closes on itself as it is.
    """
    for size, kinds in zip(grid, beyond, strict=True):
        if size % multiple and "periodic" in kinds:
            raise WavesimError(
                f"{size} cells along a periodic axis are no multiple of {multiple}, which this network takes: "
                f"use {size + -size % multiple} cells, or fewer levels"
            )
    return grid[0] + -grid[0] % multiple, grid[1] + -grid[1] % multiple


def fewest(reach: int, multiple: int) -> int:
    """The fewest cells along a side that, brought up, leave `reach` cells where `multiple` have become one."""
    return max((reach - 1) * multiple + 1, multiple // 2)


def extended(field: torch.Tensor, multiple: int, beyond: Padding) -> torch.Tensor:
    """(batch, channel, y, x), continued at the top and on the right; sizes and errors are those of `brought_up`."""
    grid = (field.shape[-2], field.shape[-1])
    for axis, size, wanted, kinds in zip((-2, -1), grid, brought_up(grid, multiple, beyond), beyond, strict=True):
        if wanted > size:
            field = continued(field, wanted - size, axis, kinds).narrow(axis, wanted - size, wanted)
    return field
