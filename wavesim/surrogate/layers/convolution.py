"""A convolution made of stages: it runs, it says its dense kernel, it counts itself, and it folds for export.

    y = W * x + b,    W = W_n ... W_2 W_1
W_i are the stages (stages.py), products of theirs are matrix products over channels and convolutions over space. They
have taps along different axes, so that the taps of W are plain products of theirs. The layer is linear but for the one
bias b at its end: no stage adds one, and there is no activation inside.

Along an axis of stride s the k taps lie evenly about the s cells that become one: a mirror image in gives the mirror
image out. Filters side by side average over those cells across their own axis.

At initialisation sum(W^2) = D exactly: white noise of unit variance keeps it, averaged over the D channels out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.errors import WavesimError
from wavesim.surrogate.layers.fold import folded
from wavesim.surrogate.layers.padding import Sides, continued_all
from wavesim.surrogate.layers.stages import Stage

DENSE_PAYS = 7
"""Products of the dense kernel over those of the factors, up to which training runs the dense one. Of cp with 16
channels and 5 taps on 64 x 64 cells it takes 1.15 of the time of the filters at rank 8 (ratio 19), 0.9 at rank 16 (10),
and 0.6 and less at ranks 24 and 32 (6 and 5), but with 32 channels 2.3 at rank 16 (22): benchmarks/training_step.py. In
half precision the dense one always pays, on processors that multiply matrices of it."""
CONVOLUTIONS = {2: (F.conv2d, F.avg_pool2d), 3: (F.conv3d, F.avg_pool3d)}


class Convolution(nn.Module):
    """(batch, channel, *grid) -> (batch, channel, *grid / stride); the weights carry the names of the recipe."""

    def __init__(
        self,
        stages: Sequence[Stage],
        kernel_size: Sequence[int],
        padding: Sequence[Sides],
        bias: bool,
        stride: Sequence[int],
    ):
        super().__init__()
        self.stages, self.kernel_size = tuple(stages), tuple(kernel_size)
        self.padding, self.stride = tuple(padding), tuple(stride)
        self.dim = len(self.kernel_size)
        self.reach = tuple((taps - step) // 2 for taps, step in zip(self.kernel_size, self.stride, strict=True))
        for stage in self.stages:
            fan_in = 1 if stage.depthwise else stage.channels_in
            for name, axes in stage.filters:
                taps = [size if axis in axes else 1 for axis, size in enumerate(self.kernel_size)]
                self.register_parameter(name, nn.Parameter(torch.empty(stage.channels_out, fan_in, *taps)))
        self.bias = nn.Parameter(torch.zeros(self.channels_out)) if bias else None
        self.reset_parameters()

    @property
    def channels_in(self) -> int:
        return self.stages[0].channels_in

    @property
    def channels_out(self) -> int:
        return self.stages[-1].channels_out

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew: every stage keeps the variance in the mean, the whole layer exactly."""
        for stage in self.stages:
            weights = [self.get_parameter(name) for name, _ in stage.filters]
            for weight in weights:
                nn.init.normal_(weight, std=(len(weights) * weight[0].numel()) ** -0.5)
        self._to_unit_gain()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _to_unit_gain(self) -> None:
        gain = (self.channels_out / self.frobenius()) ** (0.5 / len(self.stages))
        for stage in self.stages:
            for name, _ in stage.filters:
                self.get_parameter(name).mul_(gain)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """Raises: WavesimError where the stride does not divide the grid, or the kernel reaches over all of it."""
        self._fits(field.shape[2:])
        if torch.is_grad_enabled() and self.trains_dense:
            field = self._assembled(field)
        else:
            for stage in self.stages:
                terms = [self._filtered(field, stage, name, axes) for name, axes in stage.filters]
                field = terms[0]
                for term in terms[1:]:
                    field = field + term
        return field if self.bias is None else field + self.bias.reshape(-1, *[1] * self.dim)

    @property
    def trains_dense(self) -> bool:
        """Whether gradients are cheaper through the dense kernel, put together from the factors, than through them.

        Between its filters a layer writes fields that autograd keeps and that are read again, each for few products.
        """
        own = sum(getattr(self, name).numel() for stage in self.stages for name, _ in stage.filters)
        dense = self.channels_in * self.channels_out * math.prod(self.kernel_size)
        limit = math.inf if torch.is_autocast_enabled(next(self.parameters()).device.type) else DENSE_PAYS
        return len(self.stages) > 1 and dense < limit * own

    def _assembled(self, field: torch.Tensor) -> torch.Tensor:
        """The same map, without the bias, as one classical convolution; its gradients reach the factors."""
        with torch.autocast(field.device.type, enabled=False):  # products of halved factors would be halved twice
            kernel = self.kernel()
        return CONVOLUTIONS[self.dim][0](continued_all(field, self.reach, self.padding), kernel, stride=self.stride)

    def _filtered(self, field: torch.Tensor, stage: Stage, name: str, axes: tuple[int, ...]) -> torch.Tensor:
        convolution, average = CONVOLUTIONS[self.dim]
        across = [step if axis in stage.axes and axis not in axes else 1 for axis, step in enumerate(self.stride)]
        if max(across) > 1:
            field = average(field, across)
        field = continued_all(
            field, [self.reach[axis] if axis in axes else 0 for axis in range(self.dim)], self.padding
        )
        stride = [step if axis in axes else 1 for axis, step in enumerate(self.stride)]
        groups = stage.channels_in if stage.depthwise else 1
        return convolution(field, getattr(self, name), stride=stride, groups=groups)

    def _fits(self, grid: Sequence[int]) -> None:
        if any(cells % step for cells, step in zip(grid, self.stride, strict=True)):
            raise WavesimError(f"a grid of {tuple(grid)} is not a multiple of the stride {self.stride}; change either")

    def weights(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())

    def macs(self, grid: Sequence[int]) -> int:
        """Multiply-accumulates on a grid of the input, without the additions of bias and averages."""
        self._fits(grid)
        grid, count = list(grid), 0
        for stage in self.stages:
            for axis in stage.axes:
                grid[axis] //= self.stride[axis]
            count += math.prod(grid) * sum(self.get_parameter(name).numel() for name, _ in stage.filters)
        return count

    def stage_kernel(self, stage: Stage) -> torch.Tensor:
        """The taps of one stage, its filters summed: (out, in or 1, *taps), one tap where the stage has none."""
        if len(stage.filters) == 1:
            return getattr(self, stage.filters[0][0])  # which may stand in for a parameter (torch.func.functional_call)
        terms = []
        for name, axes in stage.filters:
            taps: torch.Tensor = getattr(self, name)
            around = []
            for axis in reversed(range(self.dim)):  # the order of F.pad
                if axis not in axes:
                    taps = taps.repeat_interleave(self.stride[axis], 2 + axis) / self.stride[axis]
                around += [0, 0] if axis in axes else [self.reach[axis]] * 2
            terms.append(F.pad(taps, around))
        return torch.stack(terms).sum(dim=0)

    def kernel(self) -> torch.Tensor:
        """The dense kernel (out, in, *kernel_size) of the classical convolution that does the same."""
        first, *others = self.stages
        whole = self.stage_kernel(first)
        if first.depthwise:
            whole = torch.diag_embed(whole[:, 0].movedim(0, -1)).movedim((-2, -1), (0, 1))
        for stage in others:
            taps = self.stage_kernel(stage)
            whole = taps * whole if stage.depthwise else torch.einsum("om...,mc...->oc...", taps, whole)
        return whole

    def frobenius(self) -> torch.Tensor:
        """sum(W^2) of the dense kernel: decay on the product, not on its factors (Khodak et al., arXiv 2105.01029)."""
        return self.kernel().square().sum()

    def fold(self) -> nn.Module:
        """The same map as plain convolutions of torch, for export (fold.py); the weights are copied."""
        return folded(self)
