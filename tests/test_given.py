"""What stands in for a model or a dataset on the command line: a training's folder does, a pickle never, and what is
there is not said not to exist."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_evaluate import COURANT, waves

from wavesim.config import ForecasterConfig
from wavesim.dataset import SPLITS, WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.given import model_file
from wavesim.surrogate import Forecaster, load, save
from wavesim.surrogate.checkpoint import read_header, trained_by

PICKLED = "is a pickle, which runs code when it is read: give "


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run/: the folder of a training; waves/: a dataset; models/: models alone; pickles, and a text."""
    root = tmp_path_factory.mktemp("given")
    for split in SPLITS:
        write_shard(root / "waves" / "data" / split / f"{split}.hdf5", waves())
    shape = ForecasterConfig(ranks=(2,), width=8, encoder_width=8, substeps=3, conserve_energy=False)
    model = Forecaster(shape, COURANT)
    save(model, root / "run" / "model.safetensors")
    (root / "run" / "config.toml").write_text(f'seed = 0\ndata = "{root / "waves"}"\n')
    save(model, root / "models" / "other.safetensors")
    torch.save({"weights": torch.zeros(2)}, root / "m.pt")
    for name in ("m.pkl", "disguised"):
        (root / name).write_bytes(pickle.dumps({"weights": [1.0]}))
    torch.save([], root / "m.safetensors")
    (root / "m.frame.onnx").write_bytes(b"graph")
    (root / "text.txt").write_text("text")
    with zipfile.ZipFile(root / "waves.zip", "w") as packed:
        packed.write(root / "waves" / "data" / "test" / "test.hdf5")
    return root


def test_a_trainings_folder_stands_for_its_model(place: Path) -> None:
    file = place / "run" / "model.safetensors"
    assert model_file(place / "run") == file == model_file(file) == model_file(str(file))
    assert load(place / "run").courant == COURANT and read_header(place / "run")["courant"] == COURANT
    assert trained_by(place / "run") is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("m.pt", PICKLED),
        ("m.pkl", PICKLED),
        ("m.safetensors", PICKLED),
        ("disguised", PICKLED),
        ("none.ckpt", PICKLED),
        ("m.frame.onnx", "is an exported graph; give the .safetensors file that it was exported from"),
        ("models", r"models holds no model\.safetensors; give one of its models: other\.safetensors"),
        ("waves", r"waves holds no model\.safetensors; give a \.safetensors file, or the folder of a training"),
        ("none.safetensors", r"none\.safetensors does not exist; `wavesim train` makes models"),
    ],
)
def test_what_stands_for_no_model_is_told_as_what_it_is(place: Path, given: str, said: str) -> None:
    for read in (model_file, load, read_header):
        with pytest.raises(WavesimError, match=said) as told:
            read(place / given)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("m.pkl", PICKLED + "a dataset's folder"),
        ("disguised", PICKLED + "a dataset's folder"),
        ("text.txt", "text.txt is a file; a dataset is the folder that holds data/"),
        ("waves.zip", "waves.zip is a file; a dataset is the folder that holds data/"),
        ("waves/data/test/test.hdf5", "test.hdf5 is a file; a dataset is the folder that holds data/"),
        ("none", "none does not exist; make it with `wavesim generate waves`"),
    ],
)
def test_what_is_no_dataset_is_told_as_what_it_is(place: Path, given: str, said: str) -> None:
    with pytest.raises(WavesimError, match=said):
        WaveDataset(place / given, "test")


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", "{0}/run", "--grid", 16, "--frames", 1),
        ("bench", "{0}/run", "--data", "{0}/waves", "--frames", 1),
        ("evaluate", "{0}/run", "--no-ladder", "--out", "{1}/out"),
        ("evaluate", "{0}/run/model.safetensors", "--data", "{0}/waves", "--no-ladder", "--out", "{1}/out"),
        ("info", "{0}/run"),
    ],
)
def test_a_training_is_taken_as_it_lies(place: Path, tmp_path: Path, here: Callable, arguments: tuple) -> None:
    code, printed, said = here(*(str(word).format(place, tmp_path) for word in arguments))
    assert code == 0 and printed, said


def test_the_window_opens_on_one_model(place: Path, tmp_path: Path) -> None:
    from wavesim.viz.runs import find_run

    for given in ("run", "run/model.safetensors"):
        models, data = find_run(place / given)
        assert (models, data) == ({"run": place / "run" / "model.safetensors"}, place / "waves")
    assert find_run(place / "models" / "other.safetensors")[1] == place / "waves"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bench", "{0}/m.pkl"), PICKLED),
        (("bench", "{0}/m.frame.onnx"), "is an exported graph"),
        (("bench", "{0}/run", "--data", "{0}/m.pkl"), PICKLED),
        (("export", "{0}/run"), "only forecasters with conserve_energy are exported"),
        (("export", "{0}/models"), "models holds no model.safetensors; give one of its models"),
        (("export", "{0}/m.pt"), PICKLED),
        (("train", "--data", "{0}/waves", "--out", "{1}/m.safetensors", "--model", "{0}/m.pt"), PICKLED),
        (("train", "--data", "{0}/m.pt", "--out", "{1}/m.safetensors"), PICKLED),
        (("train", "--data", "{0}/m.pt", "--out", "{1}/run"), PICKLED),
        (("view", "{0}/m.pt"), PICKLED),
        (("view", "{0}/m.frame.onnx"), "is an exported graph"),
        (("view", "{0}/text.txt"), "is not a folder"),
        (("evaluate", "{0}/m.frame.onnx"), "is an exported graph"),
        (("evaluate", "{0}/m.pkl"), PICKLED),
        (("evaluate", "{0}/disguised"), PICKLED),
        (("evaluate", "{0}/run", "--data", "{0}/m.pkl"), PICKLED),
        (("prune", "{0}/m.pt", "--data", "{0}/waves", "--out", "{1}/p.safetensors"), PICKLED),
        (("prune", "{0}/run", "--data", "{0}/m.pt", "--out", "{1}/p.safetensors"), PICKLED),
        (("calibrate", "{0}/m.pt", "--data", "{0}/waves"), PICKLED),
        (("calibrate", "{0}/run", "--data", "{0}/m.pt"), PICKLED),
        (("check", "{0}/m.pt"), PICKLED),
        (("info", "{0}/m.pkl"), PICKLED),
        (("import", "{0}/m.pkl", "--out", "{1}/w"), PICKLED),
        (("learn-pruning", "{0}/m.pt", "--data", "{0}/waves", "--out", "{1}/r.safetensors"), PICKLED),
    ],
)
def test_a_command_says_in_one_line_what_it_was_given(
    place: Path, tmp_path: Path, here: Callable, arguments: tuple, said: str
) -> None:
    before = sorted(place.rglob("*"))
    code, _, complaint = here(*(word.format(place, tmp_path) for word in arguments))
    assert code == 2 and said in complaint and len(complaint.strip().splitlines()) == 1, complaint
    assert sorted(place.rglob("*")) == before and not list(tmp_path.iterdir())


def test_a_regressor_that_is_pickled_is_refused_as_such(place: Path) -> None:
    from wavesim.pruning.regressor import read_regressor

    with pytest.raises(WavesimError, match=PICKLED):
        read_regressor(place / "m.pkl")


def test_a_safetensors_file_is_never_taken_for_a_pickle(place: Path, tmp_path: Path) -> None:
    """Whatever the length of its header, with which it begins: 0x80 and the letters PK are among them."""
    whole = (place / "run" / "model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    for start in (0x1080, 0x4B50):
        padded = start.to_bytes(8, "little") + whole[8 : 8 + length] + b" " * (start - length) + whole[8 + length :]
        path = tmp_path / "m.safetensors"
        path.write_bytes(padded)
        assert path.read_bytes()[:2] in (b"\x80\x10", b"PK") and load(path).courant == COURANT
    shutil.rmtree(tmp_path)
