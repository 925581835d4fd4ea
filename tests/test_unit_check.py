"""Units that do not fit each other are told by a factor of 2, and no honest field is: closed forms, with and without
jumps, in frames fine and coarse, and the sample of packings."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_evaluate import waves

from wavesim.dataset import Shard, WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.unit_check import check_units

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
FACTORS = (1 / 3, 1 / 2, 2, 3)
PLACES = {
    "pressure_rate": ["t0_fields/pressure_rate"],
    "bulk_modulus": ["t0_fields/bulk_modulus"],
    "density": ["t0_fields/density"],
    "time": ["dimensions/time"],
    "lengths": ["dimensions/x", "dimensions/y"],
}
SAID = {"pressure_rate": "times as fast as pressure_rate says", "time": "times as fast as pressure_rate says"}


def modes(root: Path) -> Path:
    write_shard(root / "data" / "test" / "modes.hdf5", waves())
    return root


def packings(root: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, root))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("changed", PLACES)
@pytest.mark.parametrize("make", [modes, packings])
def test_a_factor_of_two_or_three_is_refused_with_its_size(tmp_path: Path, make, changed: str, factor: float) -> None:
    root = make(tmp_path / "data")
    check_units(WaveDataset(root, "test"))
    for path in WaveDataset(root, "test").paths:
        with h5py.File(path, "r+") as file:
            for name in PLACES[changed]:
                file[name][...] = file[name][...] * factor
    with pytest.raises(WavesimError, match=SAID.get(changed, "times what kappa div")) as told:
        check_units(WaveDataset(root, "test"))
    assert "\n" not in str(told.value)


def boxes(cells: int, speed: float, courant: float, frames: int = 9) -> Shard:
    """Cell averages of a box in 0.4 < x < 0.6 that goes apart to both sides, exact: the pressure jumps."""
    edges, time = np.linspace(0, 1, cells + 1), np.arange(frames) * courant / cells

    def primitive(x: np.ndarray) -> np.ndarray:
        return np.clip(x - 0.4, 0, 0.2)

    def box(x: np.ndarray) -> np.ndarray:
        return ((x > 0.4) & (x < 0.6)).astype(float)

    ways = [speed * time[:, None], -speed * time[:, None]]
    pressure = sum(np.diff(primitive(edges - way)) for way in ways) * cells / 2
    rate = sum(np.diff(box(edges - way)) * sign for way, sign in zip(ways, (-1, 1), strict=True)) * speed * cells / 2
    ones, centres = np.ones((1, cells, cells)), (edges[1:] + edges[:-1]) / 2
    across = [np.repeat(part[None, :, None], cells, axis=2) for part in (pressure, rate)]
    return Shard(*across, speed**2 * ones, ones, time, centres, centres, {}, {})


@pytest.mark.parametrize("courant", [0.5, 1.7, 3.1])
def test_what_jumps_is_not_taken_for_other_units(tmp_path: Path, courant: float) -> None:
    """Waves as short as a cell are undersampled in time: the change in a frame is not what the rates say of it."""
    write_shard(tmp_path / "data" / "test" / "box.hdf5", boxes(64, 1.0, courant))
    check_units(WaveDataset(tmp_path, "test"))
    for factor in FACTORS:
        shard = boxes(64, 1.0, courant)
        scaled = Shard(**{**vars(shard), "pressure_rate": shard.pressure_rate * factor})
        write_shard(tmp_path / "data" / "test" / "box.hdf5", scaled)
        with pytest.raises(WavesimError, match="times as fast as pressure_rate says"):
            check_units(WaveDataset(tmp_path, "test"))


@pytest.mark.parametrize("phase", [0.2, 1.0, 2.0, 2.6])
def test_a_mode_passes_however_few_frames_a_period_has(tmp_path: Path, phase: float) -> None:
    """cos(omega t) cos(pi x), of so many radians a frame; a period of 2 pi / 2.6 = 2.4 frames is the coarsest."""
    cells, omega = 16, np.pi
    time = 0.1 + np.arange(9) * phase / omega
    place = (np.arange(cells) + 0.5) / cells
    shape = np.broadcast_to(np.cos(np.pi * place), (1, 1, cells, cells))
    ones, swing = np.ones((1, cells, cells)), time[None, :, None, None] * omega
    shard = Shard(np.cos(swing) * shape, -omega * np.sin(swing) * shape, ones, ones, time, place, place, {}, {})
    write_shard(tmp_path / "data" / "test" / "mode.hdf5", shard)
    check_units(WaveDataset(tmp_path, "test"))


def test_two_frames_are_judged_and_silence_is_not(tmp_path: Path) -> None:
    whole = waves()
    for name, rate, said in (("few", 1.0, None), ("much", 2.0, "pressure_rate"), ("little", 1e-3, "pressure_rate")):
        path = tmp_path / name / "data" / "test" / "modes.hdf5"
        parts = {key: getattr(whole, key)[:, :2] for key in ("pressure", "pressure_rate")}
        parts["pressure_rate"] = parts["pressure_rate"] * rate
        write_shard(path, Shard(**{**vars(whole), **parts, "time": whole.time[:2], "series": {}}))
        if said:
            with pytest.raises(WavesimError, match=said):
                check_units(WaveDataset(tmp_path / name, "test"))
        else:
            check_units(WaveDataset(tmp_path / name, "test"))
    still = {key: 0 * getattr(whole, key) for key in ("pressure", "pressure_rate")}
    write_shard(tmp_path / "still" / "data" / "test" / "modes.hdf5", Shard(**{**vars(whole), **still}))
    check_units(WaveDataset(tmp_path / "still", "test"))
