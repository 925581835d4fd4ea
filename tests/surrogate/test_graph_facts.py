"""Exported graphs say what they are for, and what does not fit them is refused in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from wavesim.cli import main
from wavesim.config import ForecasterConfig
from wavesim.dataset import Shard, WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.fits import check_fits
from wavesim.surrogate import Forecaster, OnnxForecaster, save
from wavesim.surrogate.checkpoint import read_header

CELLS, COURANT = 12, 0.5
SIDES = ("soft", "rigid", "periodic", "periodic")


def shard(cells: int = CELLS, courant: float = COURANT, side: float = 2.0, **changes: object) -> Shard:
    still, ones = np.zeros((1, 3, cells, cells)), np.ones((1, cells, cells))
    axis, time = side * (np.arange(cells) + 0.5) / cells, courant * side / cells * np.arange(3)
    return Shard(still, still, ones, ones, time, axis, axis, {}, {}, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a coarse step between sides of three kinds, by the command line; the dataset that fits it in data/."""
    folder = tmp_path_factory.mktemp("graphs")
    write_shard(folder / "fits" / "data" / "test" / "a.hdf5", shard(sides=SIDES))
    model = Forecaster(ForecasterConfig(ranks=(), substeps=2, sides=SIDES), COURANT)
    data = {"frame_interval": COURANT * 2.0 / CELLS, "lengths": [2.0, 2.0], "hash": "abc"}
    save(model, folder / "m.safetensors", {"data": data})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["wavesim", "export", str(folder / "m.safetensors"), "--grid", str(CELLS)])
        main()
    assert not ended.value.code
    return folder


def texts(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_both_graphs_say_interval_sides_spacing_units_and_normalisation(graphs: Path) -> None:
    start, frame = texts(graphs / "m.start.onnx"), texts(graphs / "m.frame.onnx")
    assert start == frame
    assert float(start["courant"]) == COURANT and float(start["frame_interval"]) == COURANT * 2.0 / CELLS
    assert float(start["cell"]) == pytest.approx(2.0 / CELLS, rel=1e-8)
    assert json.loads(start["sides"]) == list(SIDES) and json.loads(start["grid"]) == [CELLS, CELLS]
    assert start["normalisation"].startswith("none") and json.loads(start["data"])["hash"] == "abc"
    assert "(1/kappa) p_tt = div((1/rho) grad p)" in start["medium"] and "dp/dt" in start["state"]
    stored = read_header(graphs / "m.safetensors")
    assert stored["courant"] == COURANT and (start["batch"], start["bundle"], start["substeps"]) == ("1", "1", "2")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"courant": 0.6, "sides": SIDES}, "m was trained on frames of 0.500 cells .*, .* has 0.600"),
        ({}, "m was trained between sides .* soft, rigid, periodic, periodic, .* has rigid, rigid, rigid, rigid"),
        ({"cells": 10, "sides": SIDES}, "m was exported for a grid of 12 x 12 cells, .* has 10 x 10; export"),
    ],
)
def test_data_that_the_graphs_are_not_for_are_refused(graphs: Path, tmp_path: Path, changes: dict, words: str) -> None:
    exported = OnnxForecaster(graphs / "m")
    check_fits("m", exported, WaveDataset(graphs / "fits", "test"))
    write_shard(tmp_path / "data" / "test" / "a.hdf5", shard(**changes))
    with pytest.raises(WavesimError, match=words):
        check_fits("m", exported, WaveDataset(tmp_path, "test"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": "0" * 12}, r"start.onnx and m.frame.onnx are not of one export; export the forecaster again"),
        ({"format": "other"}, r"frame.onnx does not say what it was exported for; export the forecaster again"),
        ({"grid": "[12"}, r"frame.onnx: its metadata were changed .*; export the forecaster again"),
        ({"sides": "[]"}, r"frame.onnx: its metadata were changed .*; export the forecaster again"),
        ({"network": "other"}, r"frame.onnx is of network 'other', none of gated, unet, .*; export a forecaster"),
    ],
)
def test_graphs_of_two_exports_or_without_their_facts_are_refused(
    graphs: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    for part in ("start", "frame"):
        graph = onnx.load(graphs / f"m.{part}.onnx")
        if part == "frame":
            onnx.helper.set_model_props(graph, {**texts(graphs / "m.frame.onnx"), **changes})
        onnx.save(graph, tmp_path / f"m.{part}.onnx")
    with pytest.raises(WavesimError, match=words):
        OnnxForecaster(tmp_path / "m")
