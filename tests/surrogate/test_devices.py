import pytest
import torch

from wavesim.errors import WavesimError
from wavesim.surrogate.devices import accelerator


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("device", "told"), [("cpu", ("cpu", 1)), ("cuda", ("gpu", 1)), ("cuda:0", ("gpu", [0])), ("cuda:1", ("gpu", [1]))]
)
def test_a_device_is_told_to_lightning(two_cards: None, device: str, told: tuple[str, object]) -> None:
    assert accelerator(device) == told


def test_apples_graphics_are_a_device_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert accelerator("mps") == ("mps", 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(WavesimError, match="device mps is not available on this machine; use cpu"):
        accelerator("mps")


@pytest.mark.parametrize("device", ["foo", "gpu", "auto", "", "cpu:0", "cuda:", "cuda:-1", "cuda:0,1", "CPU"])
def test_what_is_no_device_is_refused_with_those_there_are(two_cards: None, device: str) -> None:
    with pytest.raises(WavesimError, match=f"unknown device '{device}'; devices: cpu, cuda, cuda:0, mps; use cpu or"):
        accelerator(device)


def test_a_card_beyond_the_last_is_refused(two_cards: None) -> None:
    with pytest.raises(WavesimError, match="cuda:2 is not available on this machine; use cpu or cuda or cuda:0 or cud"):
        accelerator("cuda:2")
