"""What is cut from a forecaster: single weights (Mask) or whole units (Keep).

A unit is a channel of the hidden fields, a channel of the encoder, or a rank of one one-way filter. Residual
connections tie the channels of all layers together, so the hidden width is one group of units, and so is the
encoder's; each one-way filter's ranks are a group of their own:
    width, encoder_width, filters.0.rank, filters.1.rank, ..., look.rank, look_further.rank
`axes` is the one table that says which axis of which weight counts which units; all cutting and counting reads it. Its
channels are those that torch-pruning finds by tracing (tests/pruning/test_against_torch_pruning.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster


@dataclass(frozen=True)
class Mask:
    """The weights that stay: parameter name -> bool tensor of its shape. Parameters it does not name stay whole."""

    weights: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Keep:
    """The units that stay: group -> their indices, ascending. Groups it does not name stay whole."""

    units: Mapping[str, torch.Tensor]


Plan = Mask | Keep


def network(model: Forecaster) -> nn.Module:
    """The network or the learned step of a forecaster, whose parameters are named here.

    Raises:
        WavesimError: the coarse step alone, which has none.
    """
    if not model.config.ranks:
        raise WavesimError("ranks is empty: the coarse step alone has no weights to prune; give at least one rank")
    return model.learned


def is_cut(model: Forecaster) -> bool:
    """Whether units are cut out of this forecaster's network; all others are masked alone."""
    return model.config.network == "gated" and model.config.convolution in ("classical", "one-way")


def require_units(model: Forecaster) -> None:
    """Raises WavesimError where the network has no units that could be cut out."""
    network(model)
    if not is_cut(model):
        config = model.config
        raise WavesimError(
            f"a forecaster with network '{config.network}' and convolution '{config.convolution}' is not cut in units: "
            "choose network 'gated' with convolution 'classical' or 'one-way', or cut single weights"
        )


def require_prunable(model: Forecaster) -> None:
    """Raises WavesimError for weights that are one tensor under two names, or that training leaves as they are."""
    seen: dict[int, str] = {}
    for name, weight in network(model).named_parameters(remove_duplicate=False):
        if weight.data_ptr() in seen:
            raise WavesimError(
                f"{seen[weight.data_ptr()]} and {name} share their weights: a mask of one would cut the other; give "
                "each its own"
            )
        seen[weight.data_ptr()] = name
        if not weight.requires_grad:
            raise WavesimError(f"{name} is frozen: nothing could make up for what is cut from it; let it be trained")


def filters(model: Forecaster) -> dict[str, tuple[str | None, str]]:
    """Name of every spatial filter -> groups of the channels that it reads and produces; None: not channels of ours."""
    hidden = {f"filters.{layer}": ("width", "width") for layer in range(len(model.config.ranks))}
    return {**hidden, "look": (None, "encoder_width"), "look_further": ("encoder_width", "encoder_width")}


def axes(model: Forecaster) -> dict[str, tuple[str | None, ...]]:
    """Name of every parameter -> the group counted by its first axis (what it produces) and its second (what it reads).

    `gates` stands for one copy of the hidden width per layer, one after the other.
    """
    table: dict[str, tuple[str | None, ...]] = {
        "stem.weight": ("width", None),
        "head.weight": (None, "width"),
        "look_bias": ("encoder_width",),
        "gates.weight": ("gates", "encoder_width"),
        "gates.bias": ("gates",),
    }
    for name, (read, produced) in filters(model).items():
        if model.config.convolution == "classical":
            table[f"{name}.weight"] = (produced, read)
            continue
        rank = f"{name}.rank"
        table |= {
            f"{name}.inward": (rank, read),
            f"{name}.along_x": (rank, None),
            f"{name}.along_y": (rank, None),
            f"{name}.outward": (produced, rank),
        }
    return table


def units(model: Forecaster) -> dict[str, int]:
    """Every group of units and how many units it has."""
    config = model.config
    sizes = {"width": config.width, "encoder_width": config.encoder_width}
    if config.convolution == "one-way":
        ranks = (*config.ranks, *config.encoder_ranks)
        sizes |= {f"{name}.rank": rank for name, rank in zip(filters(model), ranks, strict=True)}
    return sizes


def left_by(model: Forecaster, plan: Plan) -> Mask:
    """The weights that a plan leaves; of a Keep plan, those of which every unit stays, biases among them."""
    if isinstance(plan, Mask):
        return plan
    stays = {group: torch.zeros(size, dtype=torch.bool) for group, size in units(model).items()}
    for group, alive in stays.items():
        alive[plan.units.get(group, torch.arange(len(alive)))] = True
    stays["gates"] = stays["width"].repeat(len(model.config.ranks))
    left = {}
    for name, groups in axes(model).items():
        left[name] = torch.ones(network(model).get_parameter(name).shape, dtype=torch.bool)
        for axis, counted in enumerate(groups):
            if counted is not None:
                left[name].transpose(0, axis)[~stays[counted]] = False
    return Mask(left)
