"""What a forecaster costs: parameters, stored bytes, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch

from wavesim.config import PruningConfig
from wavesim.surrogate import Forecaster
from wavesim.surrogate.checkpoint import named_weights


def stored_bytes(model: Forecaster) -> int:
    """Bytes of the weights as a safetensors file holds them, zeros too, with its table of names and shapes."""
    return len(safetensors.torch.save({name: weight.contiguous() for name, weight in named_weights(model).items()}))


def sparse_bytes(model: Forecaster) -> int:
    """Estimate for a format that no file of ours has: per tensor one bit a weight and the non-zero values, or dense."""
    sizes = ((weight.numel(), int(weight.count_nonzero()), weight.element_size()) for weight in model.parameters())
    return sum(min(-(-count // 8) + nonzero * width, count * width) for count, nonzero, width in sizes)


def nothing_cut(rows: Sequence[Mapping[str, Any]], config: PruningConfig) -> str | None:
    """Why a run cut nothing, in a line, and what to change; None where it cut something."""
    first, last = rows[0], rows[-1]
    if last["parameters"] < first["parameters"] or last["density"] < 1:
        return None
    left, units = last["survivors"], first["survivors"]
    if left == units:
        return (
            f"nothing was cut: the PQ index, and multiple = {config.multiple}, which each group keeps at least, let "
            f"none of {units} units or weights go; raise eta (now {config.eta:g}), or lower multiple, in [pruning]"
        )
    return (
        f"nothing was cut: the PQ index lets {units - left} of {units} units go, too few anywhere to come down by a "
        f"multiple of {config.multiple}; lower multiple, or raise rounds or eta (now {config.eta:g}) in [pruning]"
    )


def cost(model: Forecaster, grid: tuple[int, int]) -> dict[str, int]:
    """parameters, nonzero (of these), stored_bytes, sparse_bytes, macs_per_frame on a grid (y, x)."""
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "nonzero": sum(int(weight.count_nonzero()) for weight in model.parameters()),
        "stored_bytes": stored_bytes(model),
        "sparse_bytes": sparse_bytes(model),
        "macs_per_frame": model.macs(grid)["frame"],
    }
