"""One training on two processes: the curve of one process, whose batches they share."""

import multiprocessing
from pathlib import Path

import pytest
import torch

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.provenance import read_lines
from wavesim.surrogate import load, train
from wavesim.surrogate.data import shares

SMALL = ForecasterConfig(width=8, ranks=(4, 4), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4)
SHORT = TrainingConfig(unrolls=(1, 2), shares=(0.5, 0.5), iterations=12, batch=4, validate_every=5, noise=0.01, ema=0.5)


def history(path: Path) -> list[dict[str, float]]:
    return read_lines(path.with_suffix(".history.jsonl"))


def test_the_processes_share_every_batch_out_and_leave_no_window_out() -> None:
    config = TrainingConfig(batch=6, iterations=25, validate_every=10)
    for step, steps in ((0, 10), (13, 7), (20, 5)):
        whole = shares(config, step, 1, 0)
        parts = [shares(config, step, 3, rank) for rank in range(3)]
        assert len(whole) == steps and whole[0] == list(range(6 * step, 6 * step + 6))
        assert [[*one, *other, *third] for one, other, third in zip(*parts, strict=True)] == whole


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one_whose_batches_they_share(modes: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    seen: list[int] = []
    train(SMALL, SHORT, modes, one, seed=3)
    train(SMALL, SHORT, modes, two, seed=3, progress=lambda now, *_: seen.append(now), devices=2, workers=1)
    assert seen == list(range(1, 13))
    for line, wanted in zip(history(two), history(one), strict=True):
        assert line == pytest.approx(wanted, rel=1e-4)
    for a, b in zip(load(one).parameters(), load(two).parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert not multiprocessing.active_children() and not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_what_two_processes_began_one_ends(modes: Path, tmp_path: Path) -> None:
    def stop(now: int, *_: object) -> None:
        if now == 8:
            raise KeyboardInterrupt

    out, seen = tmp_path / "m.safetensors", []
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, SHORT, modes, out, seed=3, progress=stop, devices=2)
    assert not multiprocessing.active_children() and not out.exists()
    train(SMALL, SHORT, modes, out, seed=3, progress=lambda now, *_: seen.append(now))
    assert seen[0] in (6, 11) and seen[-1] == 12
    train(SMALL, SHORT, modes, tmp_path / "straight.safetensors", seed=3)
    for line, wanted in zip(history(out), history(tmp_path / "straight.safetensors"), strict=True):
        assert line == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_and_tells_in_one_line(modes: Path, tmp_path: Path) -> None:
    wild = SHORT.model_copy(update={"learning_rate": 1e30, "gradient_clip": 1e30})
    with pytest.raises(WavesimError, match=r"^the training loss is .* lower learning_rate$"):
        train(SMALL, wild, modes, tmp_path / "m.safetensors", devices=2)
    assert not multiprocessing.active_children()


def test_a_batch_that_cannot_be_shared_and_devices_that_are_not_there_are_refused(modes: Path, tmp_path: Path) -> None:
    with pytest.raises(WavesimError, match="batch 4 cannot be shared among 3 devices; give a multiple"):
        train(SMALL, SHORT, modes, tmp_path / "m.safetensors", devices=3)
    with pytest.raises(WavesimError, match="devices 0 of cpu"):
        train(SMALL, SHORT, modes, tmp_path / "m.safetensors", devices=0)
