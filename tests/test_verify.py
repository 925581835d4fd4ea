"""`wavesim check` runs a sample again, and sees what a file's own checks cannot: fields of another problem."""

import json
import shutil
from pathlib import Path

import h5py
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import generate_dataset
from wavesim.preset_config import RandomConfig
from wavesim.verify import verify

CONFIG = RandomConfig(
    lengths=(1.5, 1.0), grid=(24, 16), elements=(9, 6), frames=6, frame_interval=0.05, pulse_width=0.1, shard=1,
    correlation_length=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("random")
    generate_dataset(CONFIG, out, 3, seed=5, workers=1, progress=False)
    return out


def test_a_dataset_is_what_it_says(dataset):
    lines = verify(dataset, 9)
    assert [line.split(" ")[0] for line in lines] == ["random_000000:0", "random_000001:0", "random_000002:0"]
    assert all("against degree 5, stated" in line and "constant to" in line for line in lines)
    assert len(verify(dataset, 1)) == 1 and verify(dataset, 0) == []


def scale_pressure(file):
    file["t0_fields/pressure"][0, 3:] *= 1.002


def change_energy(file):
    file["scalars/energy"][0, 2] *= 1.002


def flatter_the_error(file):
    about = json.loads(file.attrs["wavesim"])
    about["truth_error"][0]["pressure"] = [error / 2 for error in about["truth_error"][0]["pressure"]]
    file.attrs["wavesim"] = json.dumps(about)


def change_the_seed(file):
    file.attrs["wavesim"] = json.dumps({**json.loads(file.attrs["wavesim"]), "seed": 6})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (scale_pressure, "0.20% off the same run again"),
        (change_energy, "the energy of trajectory 0"),
        (flatter_the_error, "states an error of"),
        (change_the_seed, "off the same run again"),
    ],
)
def test_a_trajectory_that_is_not_what_its_file_says_is_named(dataset, tmp_path, spoil, message):
    out = Path(shutil.copytree(dataset, tmp_path / "copy"))
    with h5py.File(next((out / "data" / "train").glob("*.hdf5")), "r+") as file:
        spoil(file)
    with pytest.raises(WavesimError, match=message):
        verify(out, 1)


def test_files_that_do_not_say_how_they_were_made_are_not_run_again(wave_dataset):
    assert verify(wave_dataset, 1) == ["no trajectory was run again: the files do not say how they were made"]
