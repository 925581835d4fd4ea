"""The networks that correct a coarse step: one-way and classical ones of our own, and published ones as references."""

from __future__ import annotations

from collections.abc import Callable

from wavesim.config import ForecasterConfig
from wavesim.surrogate.networks.classic_unet import ClassicUNet
from wavesim.surrogate.networks.convnext_unet import ConvNextUNet
from wavesim.surrogate.networks.fourier import Fourier, FourierOperator
from wavesim.surrogate.networks.gated import Gated
from wavesim.surrogate.networks.network import Network, Seen
from wavesim.surrogate.networks.reference import Reference
from wavesim.surrogate.networks.space_time import SpaceTime
from wavesim.surrogate.networks.unet import UNet

__all__ = ["NETWORKS", "Network", "Seen", "make_network"]

NETWORKS: dict[str, Callable[[ForecasterConfig], Network]] = {
    "gated": Gated,
    "unet": UNet,
    "space-time": SpaceTime,
    "classic-unet": lambda config: Reference(config, ClassicUNet),
    "convnext-unet": lambda config: Reference(config, ConvNextUNet),
    "fno": lambda config: Fourier(config, FourierOperator),
    "tfno": lambda config: Fourier(config, FourierOperator),
}


def make_network(config: ForecasterConfig) -> Network:
    """The network of these settings.

    Raises:
        WavesimError: a reference network whose package is not installed.
    """
    return NETWORKS[config.network](config)
