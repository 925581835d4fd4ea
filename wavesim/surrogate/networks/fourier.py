"""Reference: the Fourier neural operator, and the one whose spectral weights are a Tucker tensor (TFNO).

    h <- gelu( F^-1( R F h ) + W h ),    R: a complex matrix over channels for each of the kept modes
The layers are those of neuraloperator (optional extra `baselines`). Left out is its map of the coordinates, which would
tie a network to a place and a size. A Fourier transform closes the domain on itself: along an axis that is not periodic
the fields go on by an eighth of its cells beyond both sides, as the sides say, and what is forecast there is dropped.

16 modes and 128 channels in The Well, whose own wrapper in the_well 1.2.0 drops what the blocks compute: it is not used
here, and the numbers published with it are those of another network.

References: Li et al., arXiv 2010.08895; Kossaifi et al., arXiv 2310.00120 (TFNO).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from wavesim.config import ForecasterConfig
from wavesim.errors import missing_engine
from wavesim.surrogate.layers.padding import continued
from wavesim.surrogate.networks.reference import Body, Reference
from wavesim.surrogate.sides import Padding

BEYOND = 8  # cells along an axis over cells that are added at each side
TUCKER_RANK = 0.1  # share of the dense weights that a TFNO has, the package's own default


class FourierOperator(Body):
    """As many layers as there are `config.ranks`, whose values mean nothing here; `config.modes` along each axis."""

    def __init__(self, channels_in: int, channels_out: int, config: ForecasterConfig, beyond: Padding):
        super().__init__()
        try:
            from neuralop.models import FNO, TFNO
        except ImportError as error:
            raise missing_engine("neuralop", f"network '{config.network}'", "baselines", error) from error
        kind, rank = (TFNO, TUCKER_RANK) if config.network == "tfno" else (FNO, 1.0)
        whole = kind(
            n_modes=(config.modes, config.modes),
            in_channels=channels_in,
            out_channels=channels_out,
            hidden_channels=config.width,
            n_layers=len(config.ranks),
            positional_embedding=None,
            rank=rank,
        )
        # Its parts without itself, who would write a dictionary of settings among the weights.
        self.lifting, self.blocks, self.projection = whole.lifting, whole.fno_blocks, whole.projection
        self.layers, self.width, self.modes = len(config.ranks), config.width, config.modes
        self.beyond = beyond

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        return self.projection.fcs[-1]

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """(batch, channel, y, x), any size."""
        hidden = self.lifting(field)
        for layer in range(self.layers):
            hidden = self.blocks(hidden, layer)
        return self.projection(hidden)

    def margins(self, grid: tuple[int, int] | torch.Size) -> list[int]:
        """Cells beyond each side, along y and along x."""
        return [0 if "periodic" in kinds else size // BEYOND for size, kinds in zip(grid, self.beyond, strict=True)]

    def extended(self, field: torch.Tensor, beyond: Padding) -> torch.Tensor:
        for axis, cells, kinds in zip((-2, -1), self.margins(field.shape[-2:]), beyond, strict=True):
            field = continued(field, cells, axis, kinds)
        return field

    def within(self, field: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        low, left = self.margins(grid)
        return field[..., low : low + grid[0], left : left + grid[1]]

    def macs(self, grid: tuple[int, int]) -> int:
        """A real transform of n cells counts 5/4 n log2 n, a complex product 4, a Tucker tensor as if it were dense."""
        height, width = (size + 2 * margin for size, margin in zip(grid, self.margins(grid), strict=True))
        cells = height * width
        pointwise = sum(
            weight.numel() for name, weight in self.named_parameters() if weight.ndim == 3 and name.endswith("weight")
        )
        # Of a real field half of the modes along x are known from the others.
        modes = min(self.modes, height) * min(self.modes // 2 + 1, width // 2 + 1)
        transforms = 2 * self.layers * self.width * round(1.25 * cells * math.log2(cells))
        return cells * pointwise + transforms + 4 * self.layers * self.width**2 * modes


class Fourier(Reference):
    """FNO and TFNO."""

    exportable = False
