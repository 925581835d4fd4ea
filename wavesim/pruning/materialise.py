"""A plan, carried out: from a forecaster to a plain smaller one, without masks, that forecasts the same.

Zeros alone make nothing faster: 90 % of zeros ran in the dense network's time, half of the channels in less than a
third of it. So whole units are cut out of the weights, and the settings shrink with them. For a Keep plan these are
the units that it leaves out. For a Mask they are the units that its zeros leave without a part:
    rank                its inward, its outward or both of its axis filters are zero
    hidden channel      nothing produces it (there is no bias: it is exactly zero), or nothing reads it
    encoder channel     nothing reads it; what nothing produces is the constant gelu(look_bias), which goes into the
                        bias of the gates, unless `look_further` reads it, which has no bias to take it
A channel counts as read by any weight that reads it, even one whose own output comes to nothing. What is zero besides
stays, and saves storage only. A layer that is dead altogether keeps one dead unit.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch.nn import functional as F

from wavesim.config import PruningConfig
from wavesim.errors import WavesimError
from wavesim.pruning.plans import Keep, Mask, Plan, axes, filters, is_cut, network, units
from wavesim.pruning.scores import importance, produced, read
from wavesim.surrogate import Forecaster


def materialise(model: Forecaster, plan: Plan, multiple: int = 1) -> Forecaster:
    """A plain forecaster, as small as the plan makes it; it forecasts what `apply(model, plan)` does, to rounding.

    Args:
        multiple: what widths and ranks that a mask leaves are brought up to, with units that are dead, as far as there
            are any: 37 channels take twice the time of 40 where a processor works on 8 at a time.
    Raises:
        WavesimError: as `apply`.
    """
    smaller = apply(model, plan)
    if not is_cut(model):
        return smaller
    while isinstance(plan, Mask):
        _fold_constants(smaller)
        worth = {**importance(smaller), "encoder_width": read(smaller, "encoder_width")}
        keep = Keep({group: _brought_up(values, multiple) for group, values in worth.items()})
        if units(smaller) == {group: len(left) for group, left in keep.units.items()}:
            break
        smaller = apply(smaller, keep)
    return smaller


def delivered(model: Forecaster, settings: PruningConfig, number: int) -> Forecaster:
    """What a round leaves: materialised, and in half precision where that is asked; round 0 leaves what came."""
    result = materialise(model, Mask({}), settings.multiple)
    return halved(result) if settings.half and number else result


def halved(model: Forecaster) -> Forecaster:
    """A copy whose weights are rounded to half precision, and as many bytes in memory as before.

    Raises:
        WavesimError: a weight beyond the largest of half precision, 65504.
    """
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in network(rounded).named_parameters():
            weight.copy_(weight.half())
            if not torch.isfinite(weight).all():
                raise WavesimError(f"{name} has weights beyond 65504, the largest of half precision; set half = false")
    return rounded


def _brought_up(worth: torch.Tensor, multiple: int) -> torch.Tensor:
    """The units that are worth something, and dead ones up to the next multiple; one dead one where all are."""
    living = max(int(worth.count_nonzero()), 1)
    places = min(math.ceil(living / multiple) * multiple, len(worth))
    return worth.argsort(descending=True, stable=True)[:places].sort().values


def apply(model: Forecaster, plan: Plan) -> Forecaster:
    """A copy with masked weights set to zero, or one without the units that a Keep plan leaves out.

    Raises:
        WavesimError: a Keep plan that would empty a group.
    """
    if isinstance(plan, Keep):
        return _cut(model, plan)
    masked = copy.deepcopy(model)
    with torch.no_grad():
        for name, keep in plan.weights.items():
            network(masked).get_parameter(name).masked_fill_(~keep, 0)  # a product would leave -0.0, which is stored
    return masked


def _cut(model: Forecaster, keep: Keep) -> Forecaster:
    config = model.config
    left = {group: torch.arange(size) for group, size in units(model).items()} | dict(keep.units)
    for emptied in (group for group, indices in left.items() if not len(indices)):
        raise WavesimError(f"a plan that keeps nothing of {emptied} leaves no network; keep at least one")
    changed: dict[str, Any] = {"width": len(left["width"]), "encoder_width": len(left["encoder_width"])}
    if config.convolution == "one-way":
        ranks = [len(left[f"{name}.rank"]) for name in filters(model)]
        changed |= {"ranks": tuple(ranks[:-2]), "encoder_ranks": tuple(ranks[-2:])}
    left["gates"] = torch.cat([layer * config.width + left["width"] for layer in range(len(config.ranks))])

    smaller = Forecaster(config.model_copy(update=changed), model.courant)
    weights = network(model).state_dict()
    for name, groups in axes(model).items():
        for axis, group in enumerate(groups):
            if group is not None:
                weights[name] = weights[name].index_select(axis, left[group])
    network(smaller).load_state_dict(weights)
    return smaller.train(model.training)


@torch.no_grad()
def _fold_constants(model: Forecaster) -> None:
    """Nothing reads an encoder channel any more that nothing produces, wherever its constant has another place."""
    pruned = network(model)
    reads = "weight" if model.config.convolution == "classical" else "inward"
    further, gates = pruned.get_parameter(f"look_further.{reads}"), pruned.get_parameter("gates.weight")
    constant, bias = F.gelu(pruned.get_parameter("look_bias")).flatten(), pruned.get_parameter("gates.bias")
    for channel in (produced(model, "encoder_width") == 0).nonzero().flatten():
        if constant[channel] == 0:
            further[:, channel] = 0
        if not further[:, channel].any():
            bias.add_(constant[channel] * gates[:, channel, 0, 0])
            gates[:, channel] = 0
