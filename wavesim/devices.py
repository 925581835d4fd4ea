"""The devices of this machine by PyTorch's names for them: where the truth is stepped, and where a training runs."""

from __future__ import annotations

import re

from wavesim.errors import WavesimError

NAME = r"cpu|cuda(:\d+)?|mps"


def available() -> list[str]:
    """The devices of this machine: cpu; cuda and cuda:0, cuda:1, ...; mps."""
    import torch  # a second, and most commands need it not at all

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(["cuda"] if cards else []), *(f"cuda:{number}" for number in range(cards)), *mps]


def described(device: str) -> str:
    """The device, and what a graphics card calls itself."""
    import torch

    return f"{device}, {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else device


def require(device: str) -> None:
    """Raises WavesimError where this is no name of a device, or of one that is not there."""
    here = " or ".join(available())
    if not re.fullmatch(NAME, device):
        raise WavesimError(f"unknown device '{device}'; devices: cpu, cuda, cuda:0, mps; use {here} on this machine")
    if device not in available():
        raise WavesimError(f"device {device} is not available on this machine; use {here}")
