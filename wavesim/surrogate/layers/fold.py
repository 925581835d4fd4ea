"""A convolution folded for inference: the same map, to rounding, in fewer and larger operations.

1. One dense kernel, where that takes no more multiply-accumulates than the stages do.
2. Filters side by side, and depthwise filters one after the other, become one kernel over all their axes.
3. The field is continued beyond its edges before it is widened to the ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from wavesim.surrogate.layers.padding import Continuation

if TYPE_CHECKING:
    from wavesim.surrogate.layers.convolution import Convolution


class _Step(NamedTuple):
    """Taps (out, in or 1, *taps) along some axes."""

    taps: torch.Tensor
    axes: tuple[int, ...]
    depthwise: bool


@torch.no_grad()
def folded(layer: Convolution) -> nn.Sequential:
    """Continuations and plain `nn.Conv2d` or `nn.Conv3d` that do what the layer does; its weights are copied."""
    steps = [_Step(layer.stage_kernel(stage), stage.axes, stage.depthwise) for stage in layer.stages]
    dense = layer.kernel()
    if dense.numel() <= layer.macs(layer.stride):
        steps = [_Step(dense, tuple(range(layer.dim)), False)]
    merged = steps[:1]
    for step in steps[1:]:
        before = merged[-1]
        if step.depthwise and before.depthwise:
            merged[-1] = _Step(before.taps * step.taps, (*before.axes, *step.axes), True)
        else:
            merged.append(step)
    modules: list[nn.Module] = []
    widened = False
    for step in merged:
        if step.axes:
            cells = [layer.reach[axis] if axis in step.axes else 0 for axis in range(layer.dim)]
            modules.insert(len(modules) - widened, Continuation(cells, layer.padding))
        modules.append(_plain(layer, step, layer.bias if step is merged[-1] else None))
        widened = not step.axes and step.taps.shape[1] < step.taps.shape[0]
    return nn.Sequential(*modules)


def _plain(layer: Convolution, step: _Step, bias: torch.Tensor | None) -> nn.Module:
    """One step as a convolution of torch's own."""
    out, read, *taps = step.taps.shape
    groups = out if step.depthwise else 1
    stride = [size if axis in step.axes else 1 for axis, size in enumerate(layer.stride)]
    made: Any = {2: nn.Conv2d, 3: nn.Conv3d}[layer.dim]
    plain = made(read * groups, out, taps, stride, groups=groups, bias=bias is not None).to(step.taps)
    plain.weight.copy_(step.taps)
    if bias is not None:
        plain.bias.copy_(bias)
    return plain
