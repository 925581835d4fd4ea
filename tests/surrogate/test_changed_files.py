"""Files that somebody changed, or that would run code: refused in one line, and nothing of them is run."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, load, save, train
from wavesim.surrogate.running import goes_on

SMALL = ForecasterConfig(width=8, ranks=(4,), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4)
SHORT = TrainingConfig(unrolls=(1,), shares=(1,), iterations=2, batch=2, validate_every=1)


class Bomb:
    """Unpickled, it makes the file `mark`."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.fixture
def bomb(tmp_path: Path) -> Bomb:
    other = Bomb(tmp_path / "test of the bomb")
    pickle.loads(pickle.dumps(other))
    assert other.mark.exists()
    return Bomb(tmp_path / "boom")


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt", "m.pkl"])
@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_what_is_pickled_is_refused_and_not_run(tmp_path: Path, bomb: Bomb, name: str, write) -> None:  # type: ignore[no-untyped-def]
    with open(tmp_path / name, "wb") as file:
        write({"weights": bomb}, file)
    with pytest.raises(WavesimError, match="is a pickle, which runs code when it is read") as caught:
        load(tmp_path / name)
    assert not bomb.mark.exists() and "\n" not in str(caught.value)


def test_a_running_checkpoint_that_would_run_code_is_not_taken_up(modes: Path, tmp_path: Path, bomb: Bomb) -> None:
    planted = tmp_path / ".m.training" / "running.ckpt"
    planted.parent.mkdir()
    torch.save({"wavesim_training": bomb, "progress": bomb}, planted)
    assert not goes_on(planted, "0" * 12)
    seen: list[int] = []
    train(SMALL, SHORT, modes, tmp_path / "m.safetensors", progress=lambda now, *_: seen.append(now))
    assert seen == [1, 2] and not bomb.mark.exists()


@pytest.mark.parametrize("change", [{"conserve_energy": False}, {"substeps": 5}, "courant", "weight"], ids=str)
def test_settings_that_were_changed_behind_the_weights_are_noticed(tmp_path: Path, change: object) -> None:
    path = save(Forecaster(SMALL, 2.0), tmp_path / "m.safetensors")
    with safe_open(path, "pt") as file:
        header = file.metadata()
    weights = load_file(path)
    save_file(weights, path, metadata=header)
    load(path)  # as it was
    if change == "courant":
        header["courant"] = "2.5"
    elif change == "weight":
        next(iter(weights.values())).view(-1)[0] += 1e-6
    else:
        header["config"] = json.dumps({**json.loads(header["config"]), **change})  # type: ignore[dict-item]
    save_file(weights, path, metadata=header)
    with pytest.raises(WavesimError, match="settings or weights were changed after it was written") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    del header["fingerprint"]
    save_file(weights, path, metadata=header)
    with pytest.raises(WavesimError, match=r"states no fingerprint.*; take the file as it was") as caught:
        load(path)
    assert "\n" not in str(caught.value)
