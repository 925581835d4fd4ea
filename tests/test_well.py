"""Import of The Well's acoustic files: a standing mode in their layout, as it is described, against its exact rate."""

import shutil
from hashlib import sha256
from pathlib import Path

import h5py
import numpy as np
import pytest

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.well import import_well

KAPPA, RHO, LENGTHS, CELLS, INTERVAL = 2.0, 0.5, (2.0, 1.0), (64, 32), 0.05
TIME = INTERVAL * np.arange(7)
X, Y = ((np.arange(n) + 0.5) * length / n - length / 2 for n, length in zip(CELLS, LENGTHS, strict=True))


def wave(number: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pressure (time, x, y), velocity (time, x, y, 2) and pressure rate, exact: rho v_t = -grad p."""
    t, x, y = np.meshgrid(TIME, X + 1, Y + 0.5, indexing="ij")
    k_x, k_y = np.pi * (1 + number) / 2 * (2 if kind == "PERIODIC" else 1), np.pi * 2
    omega = np.sqrt(KAPPA / RHO * (k_x**2 + k_y**2))
    s = 0.3 if kind == "PERIODIC" else 0.0  # a phase that no wall allows
    pressure = np.cos(k_x * x + s) * np.cos(k_y * y) * np.cos(omega * t)
    along = np.stack(
        [k_x * np.sin(k_x * x + s) * np.cos(k_y * y), k_y * np.cos(k_x * x + s) * np.sin(k_y * y)], axis=-1
    )
    velocity = along * (np.sin(omega * t) / (RHO * omega))[..., None]
    return pressure, velocity, -omega * np.cos(k_x * x + s) * np.cos(k_y * y) * np.sin(omega * t)


def write_well(path: Path, kind: str = "WALL", numbers: tuple[int, ...] = (0, 1, 2), denser: float = 1.0) -> None:
    """A file of their layout: docs/data_format.md of The Well, with the fields of acoustic_scattering.

    denser: the density over RHO; at the same wave speed the pressure is the same, and the velocity so many times less.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pressure, velocity, _ = (np.stack(part) for part in zip(*(wave(k, kind) for k in numbers), strict=True))
    with h5py.File(path, "w") as file:
        file.attrs.update(
            simulation_parameters=[], dataset_name="acoustic_scattering", grid_type="cartesian", n_spatial_dims=2,
            n_trajectories=len(numbers),
        )  # fmt: skip
        file.create_group("dimensions").attrs["spatial_dims"] = ["x", "y"]
        for name, axis in (("time", TIME), ("x", X), ("y", Y)):
            file[f"dimensions/{name}"] = axis.astype(np.float32)
            file[f"dimensions/{name}"].attrs["sample_varying"] = False
        for axis, size, own in (("x", CELLS[0], kind), ("y", CELLS[1], "WALL")):
            group = file.create_group(f"boundary_conditions/{axis}_boundary")
            group.attrs.update(associated_dims=[axis], bc_type=own, sample_varying=False, time_varying=False)
            group["mask"] = np.isin(np.arange(size), (0, size - 1))
        fields = {
            "t0_fields/pressure": (pressure, True, True, (True, True)),
            "t0_fields/density": (np.full(CELLS, denser * RHO), False, False, (True, True)),
            "t0_fields/speed_of_sound": (np.full((len(numbers), CELLS[0]), 2.0), True, False, (True, False)),
            "t1_fields/velocity": (velocity / denser, True, True, (True, True)),
        }
        for name, (values, by_row, by_time, by_axis) in fields.items():
            file[name] = values.astype(np.float32)
            file[name].attrs.update(sample_varying=by_row, time_varying=by_time, dim_varying=list(by_axis))
        file.create_group("t2_fields")
        for group, names in (("t0_fields", ["pressure", "density", "speed_of_sound"]), ("t1_fields", ["velocity"])):
            file[group].attrs["field_names"] = names


@pytest.mark.parametrize(("kind", "tolerance"), [("WALL", 1e-4), ("PERIODIC", 1e-3), ("OPEN", 2e-3)])
def test_the_rate_is_that_of_the_mode_and_x_stays_first(tmp_path, kind, tolerance):
    write_well(tmp_path / "theirs.hdf5", kind)
    assert import_well(tmp_path / "theirs.hdf5", tmp_path / "ours") == {"test": 3}
    data = WaveDataset(tmp_path / "ours", "test")
    assert data.grid == (32, 64) and data.lengths == LENGTHS and data.frame_interval == pytest.approx(INTERVAL)
    for k in range(3):
        pressure, _, rate = wave(k, kind)
        state = data.trajectory(k).state
        np.testing.assert_allclose(state[:, 0], pressure.swapaxes(1, 2), atol=1e-6)
        error = state[:, 1] / INTERVAL - rate.swapaxes(1, 2)
        assert np.abs(error).max() < tolerance * np.abs(rate).max()
        np.testing.assert_allclose(data.medium(k), np.broadcast_to([[[KAPPA]], [[RHO]]], (2, 32, 64)), rtol=1e-6)
    with h5py.File(data.paths[0]) as file:
        names = {"WALL": "x_wall", "PERIODIC": "x_periodic", "OPEN": "x_open"}
        assert set(file["boundary_conditions"]) == {names[kind], "y_wall"}


def test_a_folder_keeps_its_splits_and_an_import_goes_on_where_it_stopped(tmp_path):
    for split, numbers in (("train", (0, 1, 2)), ("valid", (3,)), ("test", (4,))):
        write_well(tmp_path / "theirs" / "data" / split / f"{split}.hdf5", numbers=numbers)
    assert import_well(tmp_path / "theirs", tmp_path / "ours") == {"train": 3, "valid": 1, "test": 1}
    whole = {path: path.read_bytes() for path in (tmp_path / "ours").rglob("*.*") if path.is_file()}
    written = {path: path.stat().st_mtime_ns for path in whole if path.suffix == ".hdf5"}
    assert len(written) == 4 and tmp_path / "ours" / "stats.yaml" in whole
    next(iter(written)).unlink()
    import_well(tmp_path / "theirs", tmp_path / "ours")
    assert {path: path.read_bytes() for path in whole} == whole
    assert sum(path.stat().st_mtime_ns != before for path, before in written.items()) == 1


def test_an_import_has_a_card_and_a_folder_that_is_in_use_is_refused(tmp_path):
    write_well(tmp_path / "theirs.hdf5", numbers=(0, 1))
    with sole_user(tmp_path / "ours"), pytest.raises(WavesimError, match="is at work"):
        import_well(tmp_path / "theirs.hdf5", tmp_path / "ours")
    assert [path.name for path in (tmp_path / "ours").iterdir()] == [".lock"]
    import_well(tmp_path / "theirs.hdf5", tmp_path / "ours")
    card = (tmp_path / "ours" / "README.md").read_text()
    digest = sha256((tmp_path / "theirs.hdf5").read_bytes()).hexdigest()
    for words in (
        "acoustic_scattering",
        f"| from theirs.hdf5 | SHA-256 {digest} |",
        "| grid | 64 x 32 cells",
        "2 x 1;",
    ):
        assert words in card
    assert (tmp_path / "ours" / "picture.png").stat().st_size > 10_000


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(WavesimError, match=r"is no \.hdf5 file"):
        import_well(tmp_path / "none.hdf5", tmp_path / "out")
    (tmp_path / "text.hdf5").write_text("text")
    with pytest.raises(WavesimError, match="not a whole HDF5 file"):
        import_well(tmp_path / "text.hdf5", tmp_path / "out")
    write_well(tmp_path / "scalar.hdf5")
    with h5py.File(tmp_path / "scalar.hdf5", "r+") as file:
        del file["t1_fields/velocity"]
    with pytest.raises(WavesimError, match="it lacks t1_fields/velocity"):
        import_well(tmp_path / "scalar.hdf5", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_import_that_would_break_a_folder_is_refused_before_it_writes(tmp_path):
    theirs, ours = tmp_path / "a" / "wave.hdf5", tmp_path / "ours"
    write_well(theirs, numbers=(0,))
    import_well(theirs, ours)
    whole = files_of(ours)
    write_well(tmp_path / "b" / "wave.hdf5", numbers=(1,))  # another file of the name
    shutil.copy(theirs, tmp_path / "again.hdf5")  # the same under another name
    write_well(tmp_path / "slow.hdf5", numbers=(2,))
    with h5py.File(tmp_path / "slow.hdf5", "r+") as file:
        file["dimensions/time"][:] *= 2
    for source, split, message in (
        (tmp_path / "b" / "wave.hdf5", "test", "has the name of wave of test .* and other content; rename it"),
        (theirs, "train", "for train is wave of test .* again, .*; leave it out"),
        (tmp_path / "again.hdf5", "valid", "for valid is wave of test .* again, .*; leave it out"),
        (tmp_path / "slow.hdf5", "test", "other frames, cells, frame interval or lengths"),
    ):
        with pytest.raises(WavesimError, match=message) as refused:
            import_well(source, ours, split)
        assert "\n" not in str(refused.value) and files_of(ours) == whole
    assert import_well(theirs, ours) == {"test": 1} and files_of(ours) == whole
    for split, number in (("train", 3), ("valid", 4)):
        write_well(tmp_path / "both" / "data" / split / "chunk.hdf5", numbers=(number,))
    with pytest.raises(WavesimError, match=r"has the name of chunk of train .* and other content"):
        import_well(tmp_path / "both", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_imported_into_a_dataset_that_was_generated(tmp_path):
    write_well(tmp_path / "wave.hdf5", numbers=(0,))
    ours = Path(shutil.copytree(Path(__file__).parents[1] / "data" / "sample", tmp_path / "ours"))
    whole = files_of(ours)
    with pytest.raises(WavesimError, match="was not imported"):
        import_well(tmp_path / "wave.hdf5", ours)
    assert files_of(ours) == whole
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "settings.json").write_text("{}")  # its first file is still being made
    with pytest.raises(WavesimError, match="was made by `wavesim generate waves`"):
        import_well(tmp_path / "wave.hdf5", begun)
    assert [path.name for path in begun.iterdir()] == ["settings.json"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f["boundary_conditions/x_boundary"].attrs.update(bc_type="SPONGE"), "'SPONGE' .* WALL, OPEN, PERI"),
        (lambda f: f["boundary_conditions/x_boundary"].pop("mask"), "x_boundary must have a mask"),
        (lambda f: f["boundary_conditions/x_boundary"].attrs.pop("bc_type"), "x_boundary has no attribute bc_type"),
        (lambda f: f.pop("boundary_conditions"), "it lacks boundary_conditions"),
        (lambda f: f.attrs.pop("dataset_name"), "has no attribute dataset_name"),
        (lambda f: f.attrs.pop("n_trajectories"), "has no attribute n_trajectories"),
        (lambda f: f["t0_fields/density"].attrs.pop("sample_varying"), "density has no attribute sample_varying"),
        (lambda f: f["t0_fields/density"].attrs.update(dim_varying=[True]), "dim_varying of /t0_fields/density"),
        (lambda f: f.attrs.update(n_trajectories=7), r"shape \(1, 7, 64, 32\), and \(7, 7, 64, 32\) follows"),
        (lambda f: f["dimensions/time"].write_direct(TIME.astype("f4") ** 2), "time must be one line of 6 or more"),
        (lambda f: f["boundary_conditions/x_boundary"].attrs.update(bc_type="PERIODIC")
         or f["boundary_conditions/x_boundary/mask"].write_direct(np.arange(64) == 0), "both or none are periodic"),
    ],
)  # fmt: skip
def test_a_defect_of_a_file_is_named_before_anything_is_written(tmp_path, spoil, message):
    write_well(tmp_path / "wave.hdf5", numbers=(0,))
    with h5py.File(tmp_path / "wave.hdf5", "r+") as file:
        spoil(file)
    with pytest.raises(WavesimError, match=message) as refused:
        import_well(tmp_path / "wave.hdf5", tmp_path / "ours")
    assert str(tmp_path / "wave.hdf5") in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "ours").exists()


def test_a_forecaster_trains_on_what_was_imported(tmp_path):
    from wavesim.config import ForecasterConfig, TrainingConfig
    from wavesim.surrogate import load, train
    from wavesim.surrogate.train import courant_of

    root = tmp_path / "theirs"
    for split, number, denser in (("train", 0, 1), ("train", 1, 2), ("valid", 2, 1)):
        write_well(root / "data" / split / f"{number}.hdf5", numbers=(number,), denser=denser)
    import_well(root, tmp_path / "ours")
    assert courant_of(WaveDataset(tmp_path / "ours", "train")) == pytest.approx(INTERVAL * 32)
    forecaster = ForecasterConfig(width=8, ranks=(4,), encoder_width=8, encoder_ranks=(4, 4), substeps=8)
    training = TrainingConfig(unrolls=(1, 2), shares=(0.5, 0.5), iterations=4, batch=1)
    train(forecaster, training, tmp_path / "ours", tmp_path / "model.safetensors", 0)
    assert load(tmp_path / "model.safetensors").courant == pytest.approx(INTERVAL * 32)
