"""The reference networks have the published sizes, and say what they cannot do."""

import sys
from importlib.abc import MetaPathFinder
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from network_cases import NEEDS, fields, forecaster

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, rollout
from wavesim.surrogate.networks.classic_unet import ClassicUNet
from wavesim.surrogate.networks.convnext_unet import ConvNextUNet
from wavesim.surrogate.networks.reference import Body
from wavesim.surrogate.sides import STATE, padding

# The Well's acoustic sets: four frames of three fields and two coefficients in, three fields out.
IN, OUT = 14, 3


def parameters(body: type[Body], **settings: object) -> int:
    config = ForecasterConfig(ranks=(1,) * 4, **settings)  # type: ignore[arg-type]
    made = body(IN, OUT, config, padding(config.sides, STATE))  # type: ignore[call-arg]
    return sum(p.numel() for p in made.parameters())


def test_the_classic_unet_has_the_published_number_of_parameters() -> None:
    width = [48 * 2**level for level in range(5)]

    def block(read: int, made: int) -> int:
        return 9 * (read + made) * made + 2 * 2 * made

    count = block(IN, width[0]) + width[0] * OUT + OUT
    for fine, coarse in pairwise(width):
        count += block(fine, coarse) + 4 * coarse * fine + fine + block(2 * fine, fine)
    assert parameters(ClassicUNet, width=48) == count == 17_466_243  # 17.46 million were published


def test_the_convnext_unet_has_the_published_number_of_parameters() -> None:
    width = [42 * 2**level for level in range(5)]

    def block(channels: int) -> int:
        return (49 + 1) * channels + 2 * channels + 2 * 4 * channels**2 + 4 * channels + channels + channels

    count = 9 * IN * width[0] + width[0] + 9 * width[0] * OUT + OUT + block(width[-1])
    for fine, coarse in pairwise(width):
        down, up = 2 * fine + 4 * fine * coarse + coarse, 2 * coarse + 4 * fine * coarse + fine
        merge = 0 if coarse == width[-1] else 2 * coarse * coarse + coarse
        count += 2 * block(fine) + down + 2 * block(coarse) + up + merge
    assert parameters(ConvNextUNet, width=42, blocks=2) == count
    assert count == pytest.approx(18.57e6, rel=5e-4)  # as published


class NotInstalled(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "neuralop":
            raise ModuleNotFoundError(f"No module named '{name}'", name="neuralop")


def test_a_network_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "neuralop"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    with pytest.raises(WavesimError, match=r"neuralop is not installed, and network 'fno' .*wavesim\[baselines\]"):
        Forecaster(ForecasterConfig(network="fno"), 2.0)


@NEEDS
@pytest.mark.parametrize("network", ["fno", "tfno"])
def test_fourier_networks_are_not_exported(network: str, tmp_path: Path) -> None:
    with pytest.raises(WavesimError, match=f"network '{network}' is not exported"):
        export_onnx(forecaster(network), tmp_path / "m", (16, 16))
    assert not list(tmp_path.iterdir())


@NEEDS
def test_a_tucker_tensor_has_a_tenth_of_the_spectral_weights() -> None:
    spectral = {}
    for network in ("fno", "tfno"):
        model = Forecaster(ForecasterConfig(network=network, width=32, ranks=(1, 1), modes=12), 2.0)  # type: ignore[arg-type]
        spectral[network] = sum(p.numel() for p in model.parameters() if p.is_complex())
    assert spectral["fno"] == 2 * 32 * 32 * 12 * 7
    assert 0.05 < spectral["tfno"] / spectral["fno"] < 0.15


@NEEDS
@pytest.mark.parametrize("sides", [("periodic",) * 4, ("rigid",) * 4])
def test_one_fourier_layer_is_its_spectral_product_by_numpy(sides) -> None:  # type: ignore[no-untyped-def]
    """Mode by mode."""
    model = forecaster("fno", sides=sides, ranks=(1,), modes=4)
    layer = model.network.body.blocks.convs[0]
    field = torch.randn(1, 8, 12, 16)
    weight, bias = layer.weight.to_tensor().detach().numpy(), layer.bias.detach().numpy()
    whole, made = np.fft.rfft2(field[0].numpy(), norm="forward"), np.zeros((8, 12, 9), complex)
    for row in range(4):  # modes -2, -1, 0, 1 along y, 0 to 2 along x
        made[:, row - 2, :3] = np.einsum("iox,ix->ox", weight[:, :, row], whole[:, row - 2, :3])
    expected = np.fft.irfft2(made, s=(12, 16), norm="forward") + bias
    np.testing.assert_allclose(layer(field)[0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["classic-unet", "convnext-unet"])
def test_onnx_runtime_agrees_with_the_convolutional_references(network: str, tmp_path: Path) -> None:
    model = forecaster(network)
    states, media = (field.numpy() for field in fields(1, (14, 17)))
    export_onnx(model, tmp_path / "m", (14, 17))
    found = rollout(OnnxForecaster(tmp_path / "m"), states, media, 4)
    np.testing.assert_allclose(found, rollout(model, states, media, 4), atol=5e-5)
