"""What a kill leaves of a training: who may go on from it, and that a whole training is never done again."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wavesim.config import ForecasterConfig, PruningConfig, TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.pruning import kept, prune
from wavesim.surrogate import load
from wavesim.surrogate.running import goes_on, training_hash
from wavesim.surrogate.train import fit, train, untrained

training = sys.modules[fit.__module__]  # by its name one gets the function `train`
SMALL = ForecasterConfig(width=8, ranks=(4, 4), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4)
SHORT = TrainingConfig(unrolls=(1, 2), shares=(0.5, 0.5), iterations=12, batch=2, validate_every=5)
PRUNING = PruningConfig(method="sap", rounds=1, iterations=12)


class Killed(BaseException):
    """No Exception, as KeyboardInterrupt is none; nobody but the test takes it."""


def kill_at(iteration: int) -> Callable[..., None]:
    def killed(now: int, *_: object) -> None:
        if now == iteration:
            raise Killed

    return killed


def same_weights(one: Path, other: Path) -> bool:
    a, b = load(one).state_dict(), load(other).state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 99},
        {"forecaster": SMALL.model_copy(update={"width": 16})},
        {"forecaster": SMALL.model_copy(update={"conserve_energy": False})},  # of the same shapes
        {"training": SHORT.model_copy(update={"learning_rate": 1e-3})},
    ],
    ids=str,
)
def test_what_a_training_with_other_settings_left_is_not_taken_up(modes: Path, tmp_path: Path, change: dict) -> None:
    first = {"forecaster": SMALL, "training": SHORT, "data": modes, "seed": 5}
    out, iterations = tmp_path / "m.safetensors", []
    with pytest.raises(Killed):
        train(**first, out=out, progress=kill_at(8))
    assert (tmp_path / ".m.training" / "running.ckpt").exists()
    train(**{**first, **change}, out=out, progress=lambda now, *_: iterations.append(now))
    assert iterations == list(range(1, 13))
    assert same_weights(out, train(**{**first, **change}, out=tmp_path / "straight.safetensors"))


def test_a_training_goes_on_through_two_kills_to_the_same_history(modes: Path, tmp_path: Path) -> None:
    for iteration in (7, 9):  # both after the first validation: the second call goes no further than the first one
        with pytest.raises(Killed):
            train(SMALL, SHORT, modes, tmp_path / "killed.safetensors", progress=kill_at(iteration))
    train(SMALL, SHORT, modes, tmp_path / "killed.safetensors")
    train(SMALL, SHORT, modes, tmp_path / "straight.safetensors")
    assert same_weights(tmp_path / "killed.safetensors", tmp_path / "straight.safetensors")
    killed, straight = ((tmp_path / f"{name}.history.jsonl").read_text() for name in ("killed", "straight"))
    assert killed == straight


def test_the_hash_tells_every_ingredient_apart(modes: Path) -> None:
    splits = [WaveDataset(modes, "train"), WaveDataset(modes, "valid")]
    hashes = [
        training_hash(untrained(SMALL, 2.0, 0), SHORT, 0, splits),
        training_hash(untrained(SMALL, 2.0, 1), SHORT, 0, splits),  # other weights to start from
        training_hash(untrained(SMALL, 2.5, 0), SHORT, 0, splits),
        training_hash(untrained(SMALL, 2.0, 0), SHORT, 1, splits),
        training_hash(untrained(SMALL, 2.0, 0), SHORT.model_copy(update={"batch": 3}), 0, splits),
        training_hash(untrained(SMALL, 2.0, 0), SHORT, 0, splits[:1]),
    ]
    file = splits[1].paths[0]
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))  # written again
    hashes.append(training_hash(untrained(SMALL, 2.0, 0), SHORT, 0, splits))
    assert len(set(hashes)) == len(hashes)
    assert training_hash(untrained(SMALL, 2.0, 0), SHORT, 0, splits) == hashes[-1]


def test_a_whole_training_that_could_not_be_saved_is_not_done_again(
    modes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise WavesimError("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(WavesimError, match="full"):
        patched.setattr(training, "save", full)
        train(SMALL, SHORT, modes, tmp_path / "m.safetensors")
    iterations: list[int] = []
    train(SMALL, SHORT, modes, tmp_path / "m.safetensors", progress=lambda now, *_: iterations.append(now))
    assert iterations == []
    train(SMALL, SHORT, modes, tmp_path / "straight.safetensors")
    assert same_weights(tmp_path / "m.safetensors", tmp_path / "straight.safetensors")
    histories = {(tmp_path / f"{name}.history.jsonl").read_text() for name in ("m", "straight")}
    assert len(histories) == 1
    assert not list(tmp_path.glob(".*"))  # saved: nothing of the training is left


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    modes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = [], os.fsync

    def full_at_the_second(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patched, pytest.raises(WavesimError, match="disk is full"):
        patched.setattr(os, "fsync", full_at_the_second)
        fit(untrained(SMALL, 2.0, 0), modes, SHORT, 0, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["running.ckpt"]
    splits = [WaveDataset(modes, "train"), WaveDataset(modes, "valid")]
    assert goes_on(tmp_path / "running.ckpt", training_hash(untrained(SMALL, 2.0, 0), SHORT, 0, splits))
    iterations: list[int] = []
    fit(untrained(SMALL, 2.0, 0), modes, SHORT, 0, tmp_path, lambda now, *_: iterations.append(now))
    assert iterations == list(range(6, 13))


def test_a_half_written_checkpoint_is_not_taken_up(modes: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(untrained(SMALL, 2.0, 0), modes, SHORT, 0, tmp_path, kill_at(8))
    running = tmp_path / "running.ckpt"
    running.write_bytes(running.read_bytes()[:-1000])
    iterations: list[int] = []
    fit(untrained(SMALL, 2.0, 0), modes, SHORT, 0, tmp_path, lambda now, *_: iterations.append(now))
    assert iterations == list(range(1, 13))


def test_the_first_round_of_pruning_goes_on_too_and_is_not_trained_twice(
    modes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = train(SMALL, SHORT, modes, tmp_path / "m.safetensors")
    out, iterations = tmp_path / "pruned.safetensors", []
    with pytest.raises(Killed):
        prune(model, modes, PRUNING, SHORT, out, progress=kill_at(8))

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(kept, "keep", killed)  # trained, and not yet written down
        prune(model, modes, PRUNING, SHORT, out, progress=lambda now, *_: iterations.append(now))
    assert iterations == list(range(6, 13))
    prune(model, modes, PRUNING, SHORT, out, progress=lambda now, *_: iterations.append(now))
    assert iterations == list(range(6, 13))
    prune(model, modes, PRUNING, SHORT, tmp_path / "straight.safetensors")
    assert same_weights(out, tmp_path / "straight.safetensors")
    assert not list(tmp_path.glob(".*"))
