"""What a forecaster costs: parameters, stored bytes, multiply-accumulates."""

from __future__ import annotations

import safetensors.torch

from wavesim.surrogate import Forecaster
from wavesim.surrogate.checkpoint import named_weights


def stored_bytes(model: Forecaster) -> int:
    """Bytes of the weights as a safetensors file holds them, zeros too, with its table of names and shapes."""
    return len(safetensors.torch.save({name: weight.contiguous() for name, weight in named_weights(model).items()}))


def sparse_bytes(model: Forecaster) -> int:
    """Estimate for a format that no file of ours has: per tensor one bit a weight and the non-zero values, or dense."""
    sizes = ((weight.numel(), int(weight.count_nonzero()), weight.element_size()) for weight in model.parameters())
    return sum(min(-(-count // 8) + nonzero * width, count * width) for count, nonzero, width in sizes)


def cost(model: Forecaster, grid: tuple[int, int]) -> dict[str, int]:
    """parameters, nonzero (of these), stored_bytes, sparse_bytes, macs_per_frame on a grid (y, x)."""
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "nonzero": sum(int(weight.count_nonzero()) for weight in model.parameters()),
        "stored_bytes": stored_bytes(model),
        "sparse_bytes": sparse_bytes(model),
        "macs_per_frame": model.macs(grid)["frame"],
    }
