"""Where a training runs: a device by PyTorch's name for it, as Lightning wants it told."""

from __future__ import annotations

import re

import torch

from wavesim.errors import WavesimError


def available() -> list[str]:
    """The devices of this machine: cpu; cuda and cuda:0, cuda:1, ...; mps."""
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(["cuda"] if cards else []), *(f"cuda:{number}" for number in range(cards)), *mps]


def accelerator(device: str) -> tuple[str, int | list[int]]:
    """The `accelerator` and `devices` of a Lightning Trainer that runs on `device`.

    Raises:
        WavesimError: no name of a device, or a device that is not there.
    """
    here = " or ".join(available())
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", device):
        raise WavesimError(f"unknown device '{device}'; devices: cpu, cuda, cuda:0, mps; use {here} on this machine")
    if device not in available():
        raise WavesimError(f"device {device} is not available on this machine; use {here}")
    kind, _, number = device.partition(":")
    return {"cuda": "gpu"}.get(kind, kind), [int(number)] if number else 1
