import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from network_cases import forecaster

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, load, rollout, unrolled
from wavesim.surrogate import train as train_model
from wavesim.surrogate.data import validation_batch
from wavesim.surrogate.train import fit, untrained
from wavesim.surrogate.unrolled import Unrolled, rollout_error

SMALL = ForecasterConfig(width=8, ranks=(4, 4), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4)
SHORT = TrainingConfig(unrolls=(1, 4), shares=(0.3, 0.7), iterations=300, batch=2)


def test_training_beats_the_coarse_step_on_exact_modes_of_unseen_media(modes: Path, tmp_path: Path) -> None:
    model = load(train_model(SMALL, SHORT, modes, tmp_path / "m.safetensors"))
    valid = validation_batch(WaveDataset(modes, "valid"))
    coarse = rollout_error(Forecaster(SMALL.model_copy(update={"ranks": ()}), 2.0), *valid)
    assert rollout_error(model, *valid) < 0.6 * coarse
    assert (tmp_path / "m.history.jsonl").read_text().count("\n") == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.history.jsonl", "m.safetensors"]


def test_the_same_seed_gives_the_same_weights_and_a_kill_changes_nothing(modes: Path, tmp_path: Path) -> None:
    def killed(iteration: int, *_: object) -> None:
        if iteration == 150:
            raise KeyboardInterrupt

    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    train_model(SMALL, SHORT, modes, paths[0], seed=5)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_model(SMALL, SHORT, modes, paths[1], seed=5, progress=killed)
    assert not paths[1].exists()
    iterations: list[int] = []
    train_model(SMALL, SHORT, modes, paths[1], seed=5, progress=lambda i, *_: iterations.append(i))
    assert iterations[0] == 101  # it went on from the last validation
    train_model(SMALL, SHORT, modes, paths[2], seed=6)
    a, b, c = (load(path).state_dict() for path in paths)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_unrolls_grow_by_stages(modes: Path) -> None:
    config = TrainingConfig(unrolls=(1, 2, 8), shares=(1, 1, 2), iterations=40)
    module = Unrolled(Forecaster(SMALL, 2.0), config, validation_batch(WaveDataset(modes, "valid")))
    assert [module.unroll(step) for step in range(40)] == [1] * 10 + [2] * 10 + [8] * 20


def test_the_history_tells_of_the_rollouts_that_its_losses_are_of(modes: Path, tmp_path: Path) -> None:
    """Also where a stage ends with a validation."""
    config = TrainingConfig(unrolls=(1, 3), shares=(1, 1), iterations=4, batch=1, validate_every=2)
    history = fit(untrained(SMALL, 2.0, 0), modes, config, 0, tmp_path).history
    assert [(row["iteration"], row["unroll"]) for row in history] == [(2, 1), (4, 3)]


def test_validation_forecasts_as_a_rollout_does_and_teaches_batch_norms_nothing(modes: Path) -> None:
    model, valid = forecaster("classic-unet").train(), validation_batch(WaveDataset(modes, "valid"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    error = rollout_error(model, *valid)
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    states, media = (part.numpy() for part in valid)
    forecasts = rollout(model.eval(), states[:, 0], media, states.shape[1] - 1)
    wrong, size = (((part) ** 2).sum((-2, -1)) for part in (forecasts[:, :, 0] - states[:, 1:, 0], states[:, 1:, 0]))
    assert error == pytest.approx(np.sqrt(wrong / size).mean(), rel=1e-4)


def test_the_loss_is_its_formula_written_out(modes: Path) -> None:
    train, valid = WaveDataset(modes, "train"), validation_batch(WaveDataset(modes, "valid"))
    model = untrained(SMALL, 2.0, 0)
    module = Unrolled(model, TrainingConfig(unrolls=(3,), shares=(1,), iterations=1), valid)
    states = torch.from_numpy(np.stack([train.window(k, 2, 4) for k in (0, 3)]))
    medium = torch.from_numpy(np.stack([train.medium(k) for k in (0, 3)]))
    loss = module.training_step((states, medium), 0).item()
    ratios = []
    for k in range(2):
        forecast = states[k : k + 1, 0]
        for frame in (1, 2, 3):
            forecast = model(forecast, model.encode(medium[k : k + 1]))
            wrong = (forecast - states[k : k + 1, frame]).detach().numpy()
            ratios.append((wrong**2).sum() / (states[k, frame].numpy() ** 2).sum())
    assert loss == pytest.approx(np.mean(ratios), rel=1e-5)


def test_what_cannot_be_trained_on_is_refused(modes: Path, tmp_path: Path) -> None:
    long = TrainingConfig(unrolls=(17,), shares=(1,), iterations=1)
    with pytest.raises(WavesimError, match="unrolls of 17 frames"):
        train_model(SMALL, long, modes, tmp_path / "m.safetensors")
    with pytest.raises(WavesimError, match="substeps 2 is unstable"):
        train_model(SMALL.model_copy(update={"substeps": 2}), SHORT, modes, tmp_path / "m.safetensors")
    with pytest.raises(WavesimError, match=r"holds no \.hdf5"):
        train_model(SMALL, SHORT, tmp_path, tmp_path / "m.safetensors")
    with pytest.raises(WavesimError, match="ranks is empty"):
        train_model(SMALL.model_copy(update={"ranks": ()}), SHORT, modes, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_graphics_card_that_is_not_there_is_told_before_training(
    modes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(WavesimError, match="device cuda is not available on this machine; use cpu"):
        train_model(SMALL, SHORT, modes, tmp_path / "m.safetensors", device="cuda")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", ["pressure", "density"])
def test_data_that_are_not_finite_stop_training_with_file_and_row(modes: Path, tmp_path: Path, field: str) -> None:
    spoiled = Path(shutil.copytree(modes, tmp_path / "modes"))
    with h5py.File(spoiled / "data/train/train.hdf5", "r+") as file:
        file[f"t0_fields/{field}"][3, 5] = np.nan
    with pytest.raises(WavesimError, match=r"train\.hdf5: trajectory 3 is not finite"):
        train_model(SMALL, SHORT, spoiled, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_a_model_whose_forecasts_all_blow_up_is_not_kept(
    modes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unrolled, "rollout_error", lambda *_: math.inf)
    short = SHORT.model_copy(update={"iterations": 2})
    with pytest.raises(WavesimError, match="no validation error of the last stage was finite"):
        train_model(SMALL, short, modes, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_the_end_counts_as_the_last_stage_however_short_training_is(modes: Path, tmp_path: Path) -> None:
    model = load(train_model(SMALL, TrainingConfig(iterations=1), modes, tmp_path / "m.safetensors"))
    assert rollout_error(model, *validation_batch(WaveDataset(modes, "valid"))) < 1
