"""What is worth keeping: a non-negative number for every weight, or for every unit (see plans.py for the units).

    weight      |w|
    rank        |inward_r| |along_r| |outward_r|, along_r the cross of its two axis filters: lambda_r of layers/cp.py
    channel     |all weights that produce it| |all weights that read it|
Both of the latter stay the same when a unit's input side is scaled up and its output side down, which leaves the
network's forecast alone; they are zero exactly where the unit contributes nothing. Gates multiply a channel and
neither produce nor read it. All in double precision, so that no product of small norms becomes zero.
"""

from __future__ import annotations

from typing import cast

import torch

from wavesim.pruning.plans import axes, network, require_units, units
from wavesim.surrogate import Forecaster
from wavesim.surrogate.layers import CPConvolution

Scores = dict[str, torch.Tensor]
"""Name of a parameter or a group of units -> scores, of the parameter's shape or (units,)."""


def magnitude(model: Forecaster) -> Scores:
    """|w| of every convolution's weight; biases and norms are neither measured nor pruned, as in arXiv 2302.05601."""
    return {name: weight.detach().abs().double() for name, weight in prunable(model).items()}


def prunable(model: Forecaster) -> dict[str, torch.nn.Parameter]:
    """Name -> every weight that is pruned one by one: those of convolutions, of any dimension."""
    return {name: weight for name, weight in network(model).named_parameters() if weight.ndim >= 4}


def importance(model: Forecaster) -> Scores:
    """Importance of every unit of every group."""
    require_units(model)
    scores = {}
    for group in units(model):
        if group.endswith(".rank"):
            layer = cast(CPConvolution, network(model).get_submodule(group.removesuffix(".rank")))
            scores[group] = layer.rank_weights().detach()
        else:
            scores[group] = produced(model, group) * read(model, group)
    return scores


def produced(model: Forecaster, channels: str) -> torch.Tensor:
    """Norm of all weights that produce each channel of a group, (units,); biases do not count."""
    return _over_all(model, channels, 0)


def read(model: Forecaster, channels: str) -> torch.Tensor:
    """Norm of all weights that read each channel of a group, (units,)."""
    return _over_all(model, channels, 1)


def _over_all(model: Forecaster, group: str, axis: int) -> torch.Tensor:
    names = [name for name, groups in axes(model).items() if len(groups) == 2 and groups[axis] == group]
    return torch.stack([_norms(model, name, axis) for name in names]).norm(dim=0)


def _norms(model: Forecaster, name: str, axis: int) -> torch.Tensor:
    weight = network(model).get_parameter(name).detach().double()
    return weight.transpose(0, axis).flatten(1).norm(dim=1)
