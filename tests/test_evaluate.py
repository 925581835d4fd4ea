"""An evaluation from end to end, on standing waves in closed form, and the data and models that it refuses."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from wavesim.cli import main
from wavesim.config import ForecasterConfig
from wavesim.dataset import Shard, WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.evaluate import _coarse_alone, evaluate
from wavesim.floors import floors, truth_error
from wavesim.further_tables import further
from wavesim.metrics import relative_l2
from wavesim.report import verdict
from wavesim.surrogate import Forecaster, load, save
from wavesim.surrogate.coarse import CoarseStep
from wavesim.unit_check import check_units

CELLS, FRAMES, COURANT, SPEED = 16, 25, 1.0, 1.3
INTERVAL = COURANT / CELLS
OWN, SHARES = np.linspace(0.0, 0.02, FRAMES), np.linspace(0.1, 0.2, FRAMES)


def waves(trajectories: int = 2, **changes: object) -> Shard:
    """Each a standing mode of its own, as point values; `about` and `series` state errors."""
    time = np.arange(FRAMES) * INTERVAL
    place = (np.arange(CELLS) + 0.5) / CELLS
    pressure = np.zeros((trajectories, FRAMES, CELLS, CELLS))
    rate = np.zeros_like(pressure)
    for k in range(trajectories):
        omega = SPEED * np.pi * np.hypot(k + 1, 2)
        shape = np.outer(np.cos(2 * np.pi * place), np.cos((k + 1) * np.pi * place))
        # Not at a phase where the pressure of a frame is all zero.
        pressure[k] = np.cos(omega * time + 0.3)[:, None, None] * shape
        rate[k] = -omega * np.sin(omega * time + 0.3)[:, None, None] * shape
    ones = np.ones((trajectories, CELLS, CELLS))
    stated = {"trajectory": 0, "degree": 5, "pressure": OWN.tolist(), "pressure_rate": (2 * OWN).tolist()}
    whole = {
        "pressure": pressure, "pressure_rate": rate, "bulk_modulus": SPEED**2 * ones, "density": ones, "time": time,
        "x": place, "y": place, "parameters": {}, "about": {"truth_error": [stated]},
        "series": {"unresolved_share": np.stack([SHARES, 3 * SHARES])[:trajectories]},
    }  # fmt: skip
    return Shard(**{**whole, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset in waves/, models in models/: the coarse step alone, and one that grows."""
    root = tmp_path_factory.mktemp("evaluation")
    write_shard(root / "waves" / "data" / "test" / "modes.hdf5", waves())
    # Without conserve_energy nothing is exported and timed, which takes 10 s a model; the demo's tests do that.
    plain = Forecaster(ForecasterConfig(ranks=(), substeps=3, conserve_energy=False), COURANT)
    save(plain, root / "models" / "plain.safetensors")
    torch.manual_seed(0)
    shape = ForecasterConfig(ranks=(2,), width=8, encoder_width=8, conserve_energy=False, substeps=3)
    growing = Forecaster(shape, COURANT)
    (head,) = (weight for name, weight in growing.named_parameters() if name.endswith("head.weight"))
    torch.nn.init.normal_(head, std=10.0)
    save(growing, root / "models" / "growing.safetensors")
    return root


@pytest.fixture(scope="module")
def results(folder: Path) -> dict:
    models = {name: folder / "models" / f"{name}.safetensors" for name in ("plain", "growing")}
    return evaluate(models, folder / "waves", folder / "out", ladder=False, workers=1, progress=False)


def test_the_rows_hold_the_closed_forms_of_standing_waves_that_stand_still(results: dict) -> None:
    """Persistence of cos(w t + a) is |cos(a) / cos(w t + a) - 1| off in the pressure; its energy stays."""
    row = results["rows"][0]
    assert row["name"] == "persistence" and row["trajectories"] == [0, 1]
    time = INTERVAL * np.arange(1, FRAMES)
    for k, errors in enumerate(row["errors"]):
        omega = SPEED * np.pi * np.hypot(k + 1, 2)
        expected = np.abs(np.cos(0.3) / np.cos(omega * time + 0.3) - 1)
        np.testing.assert_allclose(errors, expected, rtol=1e-3, atol=2e-5)
    assert row["energy_drift"] == pytest.approx(0, abs=1e-9)
    assert row["envelope_misfit"] == pytest.approx(1, abs=1e-6)
    assert row["arrival_lag"] is None and row["phase_misfit"] is None  # nothing moves


def test_every_measure_of_the_coarse_step_is_there_and_small(results: dict) -> None:
    still, coarse, plain = results["rows"]
    assert [coarse["name"], plain["name"], plain["kind"]] == ["coarse step", "plain", "forecaster"]
    assert plain["errors"] == coarse["errors"] and plain["curves"] == coarse["curves"]
    crossing = round(1 / INTERVAL) - 1
    np.testing.assert_allclose(np.mean(plain["errors"], axis=0), plain["curves"]["relative_l2"], atol=1e-5)
    assert plain["one_crossing"] == pytest.approx(plain["curves"]["relative_l2"][crossing], abs=1e-5)
    for key in ("energy_norm", "arrival_lag", "envelope_misfit", "phase_misfit"):
        assert 0 <= plain[key] < 0.3, key
    assert plain["energy_norm"] == pytest.approx(plain["curves"]["energy_norm"][crossing], rel=1e-4)
    assert plain["energy_drift"] < 0.02 and max(plain["symmetries"].values()) < 1e-5
    assert list(plain["vrmse_windows"]) == ["1", "6-12", "13-24"]
    # Modes of 2 pi / (pi sqrt(5)) and 2 pi / (pi sqrt(8)) sides: 14.3 and 11.3 cells.
    assert plain["bands"]["long"] < 1e-5 < 1e-4 < min(plain["bands"]["middle"], plain["bands"]["short"])
    assert results["traces"]["truth"][0] == results["traces"]["forecasts"]["plain"][0]
    assert len(results["traces"]["truth"]) == FRAMES and still["vrmse_windows"]["1"] > plain["vrmse_windows"]["1"]


def test_reciprocity_is_that_of_two_places_however_many_receivers_there_are(folder: Path, results: dict) -> None:
    model = {"plain": folder / "models" / "plain.safetensors"}
    place = ((0.2, 0.3),)
    alone = evaluate(
        model, folder / "waves", folder / "alone", ladder=False, workers=1, progress=False, receivers=place
    )
    assert alone["rows"][-1]["symmetries"] == results["rows"][-1]["symmetries"]
    assert alone["rows"][-1]["symmetries"]["reciprocity"] > 0
    assert "At 1 receiver: lag" in further(alone) and "At 5 receivers: lag" in further(results)


def test_the_coarse_step_beside_a_step_of_fewer_substeps_takes_as_many_as_are_stable(folder: Path) -> None:
    """A learned step may be stable with fewer than the coarse one, which is refused with too few."""
    shape = ForecasterConfig(network="effective", ranks=(2,), encoder_width=8, conserve_energy=False, substeps=1)
    path = save(Forecaster(shape, 2 * COURANT), folder / "few.safetensors")
    data = WaveDataset(folder / "waves", "test")
    coarse = _coarse_alone(load(path), data)
    assert coarse.config.substeps > 1
    for fewer, allowed in ((0, True), (1, False)):
        step = CoarseStep(coarse.courant, coarse.config.substeps - fewer)
        with nullcontext() if allowed else pytest.raises(WavesimError, match="unstable in this medium"):
            step.check(step.stencil(torch.from_numpy(data.medium(0)[None])))


def test_a_forecaster_that_grows_is_stopped_and_named_and_leaves_the_others_their_rows(results: dict) -> None:
    assert [row["name"] for row in results["rows"]] == ["persistence", "coarse step", "plain"]
    where = results["stopped"]["growing"]
    assert where["trajectory"] == "modes:0" and 1 <= where["frame"] < FRAMES
    said = " ".join(verdict(results))
    assert f"growing forecaster grew without bound: it was stopped at frame {where['frame']} of modes:0" in said


def test_the_results_are_json_without_numbers_that_are_none(results: dict) -> None:
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_the_floors_are_what_the_files_state(folder: Path, results: dict) -> None:
    test = WaveDataset(folder / "waves", "test")
    found = floors(test)
    np.testing.assert_allclose(found["truth"], OWN[1:])
    np.testing.assert_allclose(found["grid"], 2 * SHARES[1:], rtol=1e-6)
    assert (found["rounding"] < 1e-7).all() and (found["rounding"] > 1e-9).all()
    assert truth_error(test)["pressure_rate"] == {"mean": pytest.approx(0.02), "last": pytest.approx(0.04)}
    assert list(results["floors"]) == ["truth", "grid", "rounding"] and len(results["floors"]["grid"]) == FRAMES - 1


def test_files_that_state_no_errors_have_the_floor_of_rounding_alone(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "test" / "modes.hdf5", waves(about={}, series={}))
    test = WaveDataset(tmp_path, "test")
    assert list(floors(test)) == ["rounding"] and truth_error(test) == {}


def test_the_tables_name_every_measure_and_older_results_have_none(results: dict) -> None:
    said = further(results)
    for heading in ("VRMSE, frame 1 ", "VRMSE, frames 13-24", "energy norm", "long waves", "lag, frames", "reciprocity",
                    "the truth's own error", "single precision", "longer than 24 cells"):  # fmt: skip
        assert heading in said
    assert "growing" not in said and "nan" not in said and "None" not in said
    assert further({key: value for key, value in results.items() if key != "floors"}) == ""
    assert "it takes 16 frames" not in said
    assert "misfit of phase (0.1 is a twentieth of a period) (left out here: it takes 16 frames, and there are 9)" in (
        further({**results, "frames": 8})
    )


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["wavesim", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed, complaint = capsys.readouterr()
    return ended.value.code or 0, complaint if ended.value.code else printed  # type: ignore[return-value]


def test_the_command_writes_results_a_table_and_figures(folder, tmp_path, capsys, monkeypatch) -> None:
    model, out = folder / "models" / "plain.safetensors", tmp_path / "out"
    options = ("--data", folder / "waves", "--no-ladder", "--out", out, "--receiver", "0.1,0.2", "--receiver", "0.7,1")
    code, printed = run(capsys, monkeypatch, model, *options)
    assert code == 0, printed
    assert (out / "table.md").read_text().strip() in printed and "| plain |" in printed
    assert json.loads((out / "results.json").read_text())["receivers"] == [[0.1, 0.2], [0.7, 1.0]]
    for name in ("errors", "bands", "receiver"):
        assert (out / f"{name}.png").stat().st_size > 10_000


def spoiled(folder: Path, tmp_path: Path, **changes: object) -> Path:
    out = tmp_path / "spoiled"
    write_shard(out / "data" / "test" / "modes.hdf5", waves(**changes))  # type: ignore[arg-type]
    return out


def refused(folder: Path, data: Path, message: str) -> None:
    model = folder / "models" / "plain.safetensors"
    with pytest.raises(WavesimError, match=message) as told:
        evaluate({"plain": model}, data, data / "out", ladder=False, progress=False)
    assert "\n" not in str(told.value) and not (data / "out").exists()


def test_other_sides_are_refused(folder, tmp_path) -> None:
    data = spoiled(folder, tmp_path, sides=("rigid", "rigid", "soft", "rigid"))
    refused(folder, data, "rigid, rigid, rigid, rigid, .* has rigid, rigid, soft, rigid; train a forecaster")


def test_other_frame_intervals_are_refused(folder, tmp_path) -> None:
    data = spoiled(folder, tmp_path, time=np.arange(FRAMES) * INTERVAL * 1000)  # milliseconds for seconds
    refused(folder, data, "frames of 1.000 cells .*, .* has 1000.000")


def test_oblong_cells_are_refused(folder, tmp_path) -> None:
    refused(folder, spoiled(folder, tmp_path, x=np.arange(CELLS) / CELLS * 2), "cells of 0.125 x 0.0625")


def test_rates_in_other_units_are_refused(folder, tmp_path) -> None:
    data = spoiled(folder, tmp_path, pressure_rate=waves().pressure_rate / 1000)
    refused(folder, data, "pressure changes 1.*e\\+03 times as fast as pressure_rate says")


def test_media_in_other_units_are_refused(folder, tmp_path) -> None:
    data = spoiled(folder, tmp_path, bulk_modulus=waves().bulk_modulus / 1e9)  # gigapascals for pascals
    refused(folder, data, "times what kappa div")


@pytest.mark.parametrize(
    ("changed", "factor", "message"),
    [("bulk_modulus", 1e-9, "p_tt is"), ("pressure_rate", 1e-1, "the pressure changes 10.* times as fast")],
)
def test_units_of_any_trajectory_are_told_with_its_name(folder, tmp_path, changed, factor, message) -> None:
    array = getattr(waves(), changed).copy()
    array[1] *= factor
    refused(folder, spoiled(folder, tmp_path, **{changed: array}), f"data/test, .*:1: {message}")


def test_a_frame_of_silence_is_refused_with_its_number(folder, tmp_path) -> None:
    pressure, rate = waves().pressure.copy(), waves().pressure_rate.copy()
    pressure[1, FRAMES - 1] = 0
    data = spoiled(folder, tmp_path, pressure=pressure, pressure_rate=rate)
    with pytest.raises(WavesimError, match=f"the pressure of frame {FRAMES - 1} is zero throughout"):
        evaluate(
            {"plain": folder / "models" / "plain.safetensors"}, data, tmp_path / "out", ladder=False, progress=False
        )
    assert not (tmp_path / "out" / "results.json").exists()


def test_values_that_are_not_finite_are_refused(folder, tmp_path) -> None:
    data = Path(shutil.copytree(folder / "waves", tmp_path / "waves"))
    with h5py.File(data / "data" / "test" / "modes.hdf5", "r+") as file:
        file["t0_fields/pressure"][0, 1, 2, 2] = np.nan
    refused(folder, data, "trajectory 0 is not finite throughout")


def test_an_empty_test_split_is_refused(folder, tmp_path) -> None:
    (tmp_path / "data" / "test").mkdir(parents=True)
    refused(folder, tmp_path, "holds no .hdf5 file")


def test_consistent_units_pass_whatever_they_are(tmp_path) -> None:
    """The same waves in units of 1e-3 of a length, 1e-6 of a time, 1e9 of a pressure; and at half the frames."""
    plain = waves()
    scaled = {
        "x": plain.x * 1e3, "y": plain.y * 1e3, "time": plain.time * 1e6, "pressure": plain.pressure * 1e-9,
        "pressure_rate": plain.pressure_rate * 1e-15, "bulk_modulus": plain.bulk_modulus * 1e-6,
    }  # fmt: skip
    write_shard(tmp_path / "data" / "test" / "modes.hdf5", waves(**scaled))
    check_units(WaveDataset(tmp_path, "test"))
    # One frame takes longer than a wave of speed 1 would over a side of 1: the first one stands for a crossing.
    plainly = Forecaster(ForecasterConfig(ranks=(), substeps=3, conserve_energy=False), 1e3 * COURANT)
    model = {"plain": save(plainly, tmp_path / "plain.safetensors")}
    results = evaluate(model, tmp_path, tmp_path / "out", ladder=False, workers=1, progress=False)
    json.dumps(results, allow_nan=False)
    row = results["rows"][-1]
    assert row["one_crossing"] == pytest.approx(np.mean(row["errors"], axis=0)[0], abs=1e-5)
    assert further(results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.pt",), "is a pickle, which runs code"),
        (("{models}/plain.safetensors",), "name the dataset to evaluate it on with --data"),
        (("{models}", "--data", "{waves}", "--receiver", "1.5,0.5"), "is not in the domain, 0 to 1 by 0 to 1"),
        (("{models}", "--data", "{waves}", "--receiver", "here"), "is no place; give X,Y"),
        (("{waves}", "--data", "{waves}"), "holds no .safetensors file"),
    ],
)
def test_what_cannot_be_evaluated_gets_one_line(folder, capsys, monkeypatch, arguments, message) -> None:
    places = {"models": folder / "models", "waves": folder / "waves"}
    code, said = run(capsys, monkeypatch, *(argument.format(**places) for argument in arguments))
    assert code == 2 and message in said and len(said.strip().splitlines()) == 1


def test_the_errors_are_those_of_a_rollout_made_here(folder: Path, results: dict) -> None:
    from wavesim.surrogate import load, rollout

    truth = WaveDataset(folder / "waves", "test").trajectory(1)
    forecast = rollout(load(folder / "models" / "plain.safetensors"), truth.state[0], truth.medium, FRAMES - 1)
    expected = relative_l2(forecast[:, 0], truth.state[1:, 0])
    np.testing.assert_allclose(results["rows"][2]["errors"][1], expected, atol=1e-5)
