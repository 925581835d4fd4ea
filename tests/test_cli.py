"""The command line as a user meets it: in a process of its own, by exit code and text."""

import io
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


def wavesim(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wavesim", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("command", [(), ("demo",), ("generate",), ("generate", "waves"), ("view",), ("train",)])
def test_help_names_options_with_their_defaults(command: tuple[str, ...]) -> None:
    result = wavesim(*command, "--help")
    assert result.returncode == 0
    if command == ("demo",):
        assert "runs/demo" in result.stdout and "--seed" in result.stdout
    if command == ():
        for name in ("demo", "generate", "check", "import", "train", "prune", "evaluate", "export", "view", "info"):
            assert name in result.stdout


def broken_field(waves: Path, folder: Path) -> Path:
    (folder / "data" / "train").mkdir(parents=True)
    source = sorted((waves / "data" / "train").glob("*.hdf5"))[0]
    copy = folder / "data" / "train" / source.name
    copy.write_bytes(source.read_bytes())
    return copy


def test_bad_input_gets_one_line_and_exit_code_2(demo_run: Path, tmp_path: Path, here) -> None:
    waves, model = demo_run / "waves", demo_run / "models" / "compressed.safetensors"
    (tmp_path / "unknown.toml").write_text("[training]\niteration = 3\n")
    (tmp_path / "contradiction.toml").write_text("[forecaster]\nkernel_size = 4\n")
    (tmp_path / "unstable.toml").write_text("[forecaster]\nsubsteps = 2\n")
    cut = broken_field(waves, tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:5000])
    with h5py.File(broken_field(waves, tmp_path / "nan"), "r+") as file:
        file["t0_fields/pressure"][0, 3, 2, 2] = np.nan
    with h5py.File(broken_field(waves, tmp_path / "layout"), "r+") as file:
        del file["t0_fields/density"]
    out = tmp_path / "out.safetensors"
    cases = [
        (("check", tmp_path / "none"), "is not a folder"),
        (("check", tmp_path / "cut"), "not a whole HDF5 file"),
        (("check", tmp_path / "nan"), "not finite"),
        (("check", tmp_path / "layout"), "density"),
        (("demo", "--config", "quik", "--out", tmp_path / "d"), "unknown preset 'quik'"),
        (("demo", "--config", tmp_path / "unknown.toml", "--out", tmp_path / "d"), "did you mean 'iterations'"),
        (("demo", "--config", tmp_path / "contradiction.toml", "--out", tmp_path / "d"), "kernel_size 4 is even"),
        (("train", "--config", tmp_path / "unstable.toml", "--data", waves, "--out", out), "at least 6"),
        (("train", "--data", waves, "--out", out, "--model", "clasical"), "unknown model 'clasical'"),
        (("generate", "waves", "--packings", tmp_path / "none.h5", "--out", tmp_path / "w"), "does not exist"),
        (("prune", tmp_path / "none.safetensors", "--data", waves, "--out", out), "does not exist"),
        (("evaluate", demo_run, "--data", tmp_path / "none"), "none does not exist"),
        (("info", tmp_path), "is not a model"),
        (("info", waves / "stats.yaml"), "is not a model"),
        (("export", waves / "stats.yaml"), "not a whole safetensors file"),
        (("view", demo_run / "waves"), "holds no .safetensors"),
        (("prune", model, "--data", waves, "--out", out, "--scope", "lair"), "scope"),
    ]
    before = sorted(path for path in tmp_path.rglob("*"))
    for arguments, message in cases:
        code, _, complaint = here(*arguments)
        lines = [line for line in complaint.splitlines() if line.strip()]
        assert code == 2, (arguments, complaint)
        assert len(lines) == 1 and lines[0].startswith("wavesim: ") and message in lines[0], (arguments, complaint)
    assert sorted(path for path in tmp_path.rglob("*")) == before  # nothing half-written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("demo", "--seed", "-1"), "greater than or equal to 0; see `"),
        (("demo", "--sed", "1"), "No such option: --sed"),
        (("dem",), "No such command 'dem'"),
        (("train",), "Missing option '--data'"),
        (("demo", "--out", __file__), "File exists; name another path"),
        (("demo", "--out", f"{__file__}/x"), "Not a directory; name another path"),
    ],
)
def test_a_command_line_that_is_none_gets_one_line(here, arguments: tuple[str, ...], said: str) -> None:
    code, _, complaint = here(*arguments)
    assert code == 2 and said in complaint and len(complaint.strip().splitlines()) == 1


def test_sigterm_leaves_nothing_half_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wavesim", "demo", "--config", "quick", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.rglob("packings.h5")):
        time.sleep(0.02)
    process.terminate()
    complaint = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM, complaint
    assert not list(tmp_path.rglob("*.part")) and "Traceback" not in complaint


def test_a_full_disk_gets_one_line_and_leaves_nothing(demo_run: Path) -> None:
    script = """
import errno, os, sys
def full(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")
os.fsync = full
sys.argv = ["wavesim", "export", sys.argv[1], "--out", sys.argv[2], "--grid", "16"]
from wavesim.cli import main
main()
"""
    out = demo_run.parent / "full" / "model"
    model = demo_run / "models" / "compressed.safetensors"
    result = subprocess.run([sys.executable, "-c", script, model, out], capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and "the disk is full" in result.stderr
    assert not [path for path in out.parent.rglob("*") if path.is_file()]


def test_view_without_a_display_offers_a_film(demo_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    result = wavesim("view", demo_run)
    assert result.returncode == 2 and "--record out.mp4" in result.stderr


def test_view_records_a_film(demo_run: Path, tmp_path: Path) -> None:
    import imageio.v3 as iio

    result = wavesim("view", demo_run, "--record", tmp_path / "film.mp4", "--seconds", 1)
    assert result.returncode == 0, result.stderr
    film = iio.imread(tmp_path / "film.mp4")
    assert len(film) == 16 and film.std() > 10
    assert np.abs(film[0].astype(float) - film[-1]).mean() > 0.2  # the fields move


def test_export_writes_graphs_that_onnx_runtime_runs(demo_run: Path, tmp_path: Path) -> None:
    from wavesim.surrogate import OnnxForecaster, rollout

    result = wavesim("export", demo_run / "models" / "pruned.safetensors", "--out", tmp_path / "p", "--grid", 24)
    assert result.returncode == 0, result.stderr
    state = np.random.default_rng(0).normal(size=(2, 24, 24))
    assert rollout(OnnxForecaster(tmp_path / "p"), state, np.ones((2, 24, 24)), 3).shape == (3, 2, 24, 24)


@pytest.mark.parametrize("device", ["foo", "cuda:99"])
def test_a_device_that_is_not_there_gets_one_line(here: Callable, demo_run: Path, tmp_path: Path, device: str) -> None:
    out = tmp_path / "m.safetensors"
    code, _, said = here("train", "--data", demo_run / "waves", "--config", "quick", "--out", out, "--device", device)
    assert code == 2 and len(said.splitlines()) == 1 and device in said and "use cpu" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["packings.h5", "."])
def test_waves_take_packings_from_the_file_or_its_folder(
    here: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    from wavesim.fem import plan

    taken: list[Path] = []
    nothing = plan.Plan(tmp_path, [], {})
    monkeypatch.setattr(plan, "plan_packings", lambda _, packings, *__: taken.append(packings) or nothing)
    code, printed, said = here("generate", "waves", "--packings", SAMPLE / name, "--out", tmp_path, "--dry-run")
    assert code == 0 and taken == [SAMPLE / "packings.h5"] and "trajectories: 0" in printed, said


def test_waves_of_a_preset_are_generated_checked_and_exported(here: Callable, tmp_path: Path) -> None:
    settings, out = tmp_path / "cavity.toml", tmp_path / "waves"
    settings.write_text(
        'preset = "cavity"\nlengths = [2.0, 1.0]\ngrid = [32, 16]\nelements = [8, 4]\nframes = 3\nshard = 1\n'
        "pulse_width = 0.12\n"
    )
    code, printed, said = here("generate", "waves", settings, "--n", 3, "--out", out, "--workers", 1)
    assert code == 0 and "trajectories: {'train': 1, 'valid': 1, 'test': 1}" in printed, said
    code, printed, said = here("check", out)
    assert code == 0 and "1 train, 1 valid, 1 test" in printed and "run again" in printed, said
    code, printed, said = here("export", out, "--split", "valid")
    assert code == 0, said
    with meshio.xdmf.TimeSeriesReader(printed.strip()) as reader:
        points, cells = reader.read_points_cells()
        data = WaveDataset(out, "valid").trajectory(0)
        centres = points[cells[0].data].mean(axis=1)
        np.testing.assert_allclose(centres[[0, 1, 32, -1], :2], [[1, 1], [3, 1], [1, 3], [63, 31]] * np.array(1 / 32))
        for frame in range(3):
            _, _, fields = reader.read_data(frame)
            np.testing.assert_array_equal(fields["pressure"][0], data.state[frame, 0].ravel())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "waves", "rndom"), "unknown preset 'rndom'; presets: cavity, layers, random, lens, packing"),
        (("generate", "waves"), "need --packings"),
        (("generate", "waves", "lens", "--packings", SAMPLE), "lens draws its own media"),
        (("generate", "waves", "random", "--n", 8), "use n 17 or more, or a smaller shard"),
        (("generate", "waves", "none.toml"), "none.toml does not exist"),
        (("import", "none.hdf5"), "none.hdf5 is no .hdf5 file"),
    ],
)
def test_waves_that_cannot_be_made_get_one_line(
    here: Callable, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    code, _, said = here(*arguments, "--out", tmp_path / "out")
    assert code == 2 and len(said.splitlines()) == 1 and message in said and not list(tmp_path.iterdir())


def test_what_is_no_packings_file_is_not_to_be_deleted(here: Callable, tmp_path: Path) -> None:
    (tmp_path / "thesis.h5").write_text("the only copy")
    shard = next((SAMPLE / "data" / "test").glob("*.hdf5"))
    for path, message in (
        (tmp_path / "thesis.h5", "not a whole HDF5 file"),
        (tmp_path, "packings.h5 does not exist; make it with `wavesim generate packings`"),
        (shard, "holds no whole packing"),
    ):
        code, _, said = here("generate", "waves", "--packings", path, "--out", tmp_path / "waves")
        assert code == 2 and len(said.splitlines()) == 1 and message in said and "delete it" not in said
    (tmp_path / "packings.h5").write_text("the only copy")
    code, _, said = here("generate", "packings", "--out", tmp_path)
    assert code == 2 and "not a whole HDF5 file" in said and "delete it" not in said


def test_a_trajectory_is_exported_beside_its_dataset_never_into_it(here: Callable, tmp_path: Path) -> None:
    waves = Path(shutil.copytree(SAMPLE, tmp_path / "waves"))
    before = sorted(waves.rglob("*"))
    code, printed, said = here("export", waves)
    assert code == 0 and printed.strip() == str(tmp_path / "waves-xdmf" / "test_0.xdmf"), said
    assert sorted(path.name for path in (tmp_path / "waves-xdmf").iterdir()) == ["test_0.h5", "test_0.xdmf"]
    code, _, said = here("export", waves, "--out", waves / "data" / "test" / "a.xdmf")
    assert code == 2 and "give another folder" in said
    code, _, said = here("export", waves, "--trajectory", 9)
    assert code == 2 and "split test has 2 trajectories, 0 to 1; got 9" in said
    assert sorted(waves.rglob("*")) == before
    help_text = " ".join(here("export", "--help")[1].replace("│", " ").split())
    assert "DATASET-xdmf/SPLIT_NUMBER.xdmf, beside the dataset" in help_text


def test_a_dataset_named_by_a_dot_is_exported_beside_it(
    here: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(SAMPLE, tmp_path / "waves"))
    assert here("export", ".")[0] == 0 and (tmp_path / "waves-xdmf" / "test_0.xdmf").is_file()


def test_evaluation_shows_on_a_terminal_that_it_is_at_work(here: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    import wavesim.evaluate

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def slow(*_: object, **__: object) -> None:
        time.sleep(1.5)
        raise WavesimError("enough")

    monkeypatch.setattr(wavesim.evaluate, "evaluate", slow)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert here("evaluate", SAMPLE.parent / "models" / "demo" / "pruned.safetensors", "--data", SAMPLE)[0] == 2
    assert "evaluate pruned: 00:01" in terminal.getvalue()


def test_help_says_what_is_saved_without_the_ladder(here: Callable) -> None:
    assert "--no-ladder takes half the time" in " ".join(here("evaluate", "--help")[1].replace("│", " ").split())
