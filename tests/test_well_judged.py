"""The Well's acoustic files judged and pruned on where they lie: standing modes, against their closed form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_well import CELLS, INTERVAL, KAPPA, LENGTHS, RHO, TIME, write_well

from wavesim.cli import main
from wavesim.config import ForecasterConfig, PruningConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.evaluate import crossing_time
from wavesim.pruning import prune
from wavesim.surrogate import Forecaster, save
from wavesim.surrogate.checkpoint import read_header
from wavesim.viz.runs import open_run
from wavesim.well import import_well
from wavesim.well_dataset import open_split

COURANT = INTERVAL * CELLS[0] / LENGTHS[0]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("theirs")
    for split, numbers in (("train", (0,)), ("valid", (2,)), ("test", (3, 4))):
        write_well(root / "data" / split / f"acoustic_{split}.hdf5", "WALL", numbers)
    write_well(root / "data" / "train" / "acoustic_train_dense.hdf5", "WALL", (1,), denser=2)
    return root


def called(monkeypatch: pytest.MonkeyPatch, *words: object) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["wavesim", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def written(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_an_evaluation_on_theirs_has_the_modes_errors_and_says_what_is_not_told(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, model = written(theirs), tmp_path / "coarse.safetensors"
    save(Forecaster(ForecasterConfig(ranks=(), substeps=8, conserve_energy=False), COURANT), model)
    assert not called(monkeypatch, "evaluate", model, "--data", theirs, "--out", tmp_path / "out")
    said, results = capsys.readouterr().out, json.loads((tmp_path / "out" / "results.json").read_text())
    still, _, coarse = results["rows"]
    assert [still["name"], coarse["name"]] == ["persistence", "coarse"]
    for errors, number in zip(still["errors"], (3, 4), strict=True):
        omega = np.sqrt(KAPPA / RHO) * np.hypot(np.pi * (1 + number) / 2, 2 * np.pi)
        np.testing.assert_allclose(errors, np.abs(1 / np.cos(omega * TIME[1:]) - 1), rtol=1e-3)
    assert 0 < np.max(coarse["errors"]) < 0.1
    # Two long, and the wave speed is two.
    assert results["crossing"] == pytest.approx(1, rel=1e-6) and results["frame_interval"] == pytest.approx(INTERVAL)
    (line,) = (line for line in said.splitlines() if line.startswith("Not told: "))
    assert line == (
        "Not told: the FE run of equal error (the files do not say how the waves were computed); the truth's own error "
        "(the files do not state it); the share of the field that the grid cannot hold (the files do not state it)."
    )
    assert written(theirs) == before


def test_a_crossing_of_theirs_takes_as_long_as_their_length_over_their_speed(theirs: Path, tmp_path: Path) -> None:
    """Half of the domain at speed 2, half at 0.5: 1/2 + 2 for a length of 2. Of an import as of the files."""
    write_well(tmp_path / "theirs" / "data" / "test" / "a.hdf5", "WALL", (0, 1))
    with h5py.File(tmp_path / "theirs" / "data" / "test" / "a.hdf5", "r+") as file:
        file["t0_fields/speed_of_sound"][:, CELLS[0] // 2 :] = 0.5
    import_well(tmp_path / "theirs", tmp_path / "ours")
    for root in (tmp_path / "theirs", tmp_path / "ours"):
        assert crossing_time(open_split(root, "test")) == pytest.approx(2.5, rel=1e-5)


def test_pruning_on_theirs_is_pruning_on_their_import_and_the_file_says_on_what(theirs: Path, tmp_path: Path) -> None:
    import_well(theirs, tmp_path / "ours")
    before = written(theirs)
    shape = ForecasterConfig(width=8, ranks=(8,), encoder_width=8, encoder_ranks=(4, 4), kernel_size=3, substeps=5)
    model = save(Forecaster(shape, COURANT), tmp_path / "m.safetensors")
    training = TrainingConfig(unrolls=(2,), shares=(1,), iterations=2, batch=2, validate_every=2)
    pruning = PruningConfig(eta=2.0, rounds=1, iterations=2, multiple=4)
    rows = {}
    for name, root in (("theirs", theirs), ("ours", tmp_path / "ours")):
        rows[name] = prune(model, root, pruning, training, tmp_path / f"{name}.safetensors")
    for one, other in zip(rows["theirs"], rows["ours"], strict=True):
        assert one["parameters"] == other["parameters"]
        assert one["validation_error"] == pytest.approx(other["validation_error"], rel=1e-3)
    assert rows["theirs"][1]["parameters"] < rows["theirs"][0]["parameters"]
    data = read_header(tmp_path / "theirs.safetensors")["about"]["data"]
    assert data["trajectories"] == {"train": 2, "valid": 1} and data["frame_interval"] == pytest.approx(INTERVAL)
    assert written(theirs) == before


def test_the_window_plays_theirs(theirs: Path, tmp_path: Path) -> None:
    save(Forecaster(ForecasterConfig(ranks=(), substeps=8), COURANT), tmp_path / "coarse.safetensors")
    (tmp_path / "waves").symlink_to(theirs)
    with open_run(tmp_path, live=False) as session:
        assert session.advance() and session.forecast.shape == (2, *CELLS[::-1]) and session.error < 0.1


def test_info_says_what_theirs_are_and_what_reads_them_and_check_how_to_go_on(
    theirs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not called(monkeypatch, "info", theirs)
    said = capsys.readouterr().out
    assert "The Well's files of acoustic_scattering, waves on 64 x 32 cells, 7 frames every 0.05, sides rigid" in said
    assert "2 train, 1 valid, 2 test" in said and "train, prune and evaluate read them" in said
    assert called(monkeypatch, "check", theirs) == 2
    assert "`wavesim import` makes a dataset of The Well's acoustic files" in capsys.readouterr().err


def test_pruning_on_data_that_do_not_fit_is_refused_before_anything_is_written(theirs: Path, tmp_path: Path) -> None:
    model = save(Forecaster(ForecasterConfig(ranks=(8,)), 2 * COURANT), tmp_path / "m.safetensors")
    with pytest.raises(WavesimError, match=r"has a frame interval of 1\.600 cells, the model was made for 3\.200"):
        prune(model, theirs, PruningConfig(), TrainingConfig(unrolls=(2,), shares=(1,)), tmp_path / "p.safetensors")
    assert sorted(tmp_path.iterdir()) == [model]
