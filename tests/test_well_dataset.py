"""The Well's acoustic files read where they lie: window by window what an import makes of them, and trained on."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from test_well import CELLS, INTERVAL, LENGTHS, wave, write_well

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.surrogate import load, train
from wavesim.well import import_well
from wavesim.well_dataset import WellDataset, open_split

FORECASTER = ForecasterConfig(
    width=8, ranks=(4,), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=5, conserve_energy=False
)
TRAINING = TrainingConfig(unrolls=(2,), shares=(1,), iterations=4, batch=2, validate_every=2)


def theirs(root: Path, kind: str = "WALL") -> Path:
    """Three modes that train, the third in a medium twice as dense, and two that validate."""
    for split, numbers in (("train", (0, 1)), ("valid", (3, 4))):
        write_well(root / "data" / split / f"acoustic_{split}.hdf5", kind, numbers)
    write_well(root / "data" / "train" / "acoustic_train_dense.hdf5", kind, (2,), denser=2)
    (root / "stats.yaml").write_text("mean: {pressure: 0.0}\n")
    return root


def test_a_window_of_theirs_is_the_exact_mode(tmp_path: Path) -> None:
    data = open_split(theirs(tmp_path / "theirs"), "train")
    assert isinstance(data, WellDataset) and len(data) == 3 and data.frames == 7
    assert data.grid == CELLS[::-1] and data.lengths == LENGTHS and data.sides == ("rigid",) * 4
    assert data.frame_interval == pytest.approx(INTERVAL)
    for k in range(3):
        exact = wave(k, "WALL")
        pressure, rate = (values[2:5].swapaxes(1, 2) for values in (exact[0], exact[2]))
        window = data.window(k, 2, 3)
        np.testing.assert_allclose(window[:, 0], pressure, atol=1e-6)
        assert np.abs(window[:, 1] / INTERVAL - rate).max() < 1e-4 * np.abs(rate).max()
        medium = (2 if k == 2 else 1) * np.array([[[2.0]], [[0.5]]])
        np.testing.assert_allclose(data.medium(k), np.broadcast_to(medium, (2, *CELLS[::-1])), rtol=1e-6)


@pytest.mark.parametrize("kind", ["WALL", "PERIODIC", "OPEN"])
def test_theirs_reads_as_its_import_does(tmp_path: Path, kind: str) -> None:
    root = theirs(tmp_path / "theirs", kind)
    import_well(root, tmp_path / "ours")
    for split in ("train", "valid"):
        one, other = open_split(root, split), open_split(tmp_path / "ours", split)
        assert type(other) is WaveDataset and one.sides == other.sides and one.grid == other.grid
        assert one.lengths == other.lengths and one.frame_interval == pytest.approx(other.frame_interval, rel=1e-6)
        for k in range(len(one)):
            np.testing.assert_array_equal(one.medium(k), other.medium(k))
            np.testing.assert_allclose(one.window(k, 1, 4), other.window(k, 1, 4), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("kind", "side"), [("WALL", "rigid"), ("PERIODIC", "periodic"), ("OPEN", "absorbing")])
def test_a_forecaster_is_trained_on_theirs_where_they_lie(tmp_path: Path, kind: str, side: str) -> None:
    root = theirs(tmp_path / "theirs", kind)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    model = load(train(FORECASTER, TRAINING, root, tmp_path / "m.safetensors"))
    assert model.courant == pytest.approx(INTERVAL * 32, rel=1e-5) and model.config.sides[:2] == (side, side)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_single_medium_of_theirs_is_refused(tmp_path: Path) -> None:
    root = theirs(tmp_path / "theirs")
    (root / "data" / "train" / "acoustic_train_dense.hdf5").unlink()
    with pytest.raises(WavesimError, match="trains in a single medium"):
        train(FORECASTER, TRAINING, root, tmp_path / "m.safetensors")


def test_what_has_no_rate_and_no_velocity_is_refused_in_one_line(tmp_path: Path) -> None:
    still = theirs(tmp_path / "still")
    with h5py.File(still / "data/train/acoustic_train.hdf5", "r+") as file:
        del file["t1_fields/velocity"]
    with pytest.raises(WavesimError, match="no acoustic scattering file of The Well: it lacks t1_fields/velocity"):
        train(FORECASTER, TRAINING, still, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
