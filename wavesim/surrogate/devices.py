"""Where a training runs: a device by PyTorch's name for it, as Lightning wants it told."""

from __future__ import annotations

from wavesim.devices import require


def accelerator(device: str) -> tuple[str, int | list[int]]:
    """The `accelerator` and `devices` of a Lightning Trainer that runs on `device`.

    Raises:
        WavesimError: no name of a device, or a device that is not there.
    """
    require(device)
    kind, _, number = device.partition(":")
    return {"cuda": "gpu"}.get(kind, kind), [int(number)] if number else 1
