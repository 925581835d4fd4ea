"""A convolution folded for inference: the same map, to rounding, in fewer and larger operations.

1. One dense kernel, where that takes no more multiply-accumulates than the stages do.
2. Depthwise filters side by side or one after the other become one k x k kernel, up to 7 x 7. Its products cost less
   than going over the field once for each axis: 16 channels, rank 32, 64 x 64 in ONNX Runtime on one thread, 0.20 ms
   became 0.14 at k = 5 and 0.22 became 0.18 at k = 7, but at k = 9 0.22 became 0.25. In three dimensions (k = 3, rank
   16) 0.22 became 0.43, and dense filters side by side (k = 5) went from 0.19 to 0.40: these stay as they are.
3. The field is continued beyond its edges before it is widened to the ranks: 0.14 ms there, 0.20 behind.
In training the folded form is slower (k = 5: 15 against 8 ms forward and back, batch 4).
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from wavesim.surrogate.layers.padding import Continuation

if TYPE_CHECKING:
    from wavesim.surrogate.layers.convolution import Convolution


LARGEST_MERGED = 49


class _Step(NamedTuple):
    """Taps (out, in or 1, *taps) along some axes."""

    taps: torch.Tensor
    axes: tuple[int, ...]
    depthwise: bool


@torch.no_grad()
def folded(layer: Convolution) -> nn.Module:
    """Continuations and plain `nn.Conv2d` or `nn.Conv3d` that do what the layer does, or a copy of the layer where its
    filters side by side are best left so. The weights are copied.
    """
    merging = layer.dim == 2 and math.prod(layer.kernel_size) <= LARGEST_MERGED
    dense = layer.kernel()
    if dense.numel() <= layer.macs(layer.stride):
        steps = [_Step(dense, tuple(range(layer.dim)), False)]
    elif all(len(stage.filters) == 1 or (stage.depthwise and merging) for stage in layer.stages):
        steps = [_Step(layer.stage_kernel(stage), stage.axes, stage.depthwise) for stage in layer.stages]
    else:
        return copy.deepcopy(layer)
    merged = steps[:1]
    for step in steps[1:]:
        before = merged[-1]
        if merging and step.depthwise and before.depthwise:
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
