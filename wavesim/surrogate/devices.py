"""Where a training runs: a device by PyTorch's name for it, as Lightning wants it told."""

from __future__ import annotations

import torch

from wavesim.devices import require
from wavesim.errors import WavesimError


def accelerator(device: str, count: int = 1) -> tuple[str, int | list[int]]:
    """The `accelerator` and `devices` of a Lightning Trainer that runs on `device`, or on `count` of its kind.

    Raises:
        WavesimError: no name of a device, a device that is not there, or fewer of them than `count`.
    """
    require(device)
    kind, _, number = device.partition(":")
    there = torch.cuda.device_count() if device == "cuda" else 1
    if count < 1 or (count > there and kind != "cpu"):
        raise WavesimError(f"devices {count} of {device}: there is no such number of them; use 1 to {there}")
    return {"cuda": "gpu"}.get(kind, kind), [int(number)] if number else count
