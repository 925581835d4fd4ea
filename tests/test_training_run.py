"""The folder of a training: what it holds is true, a kill loses nothing, and nothing is overwritten."""

import csv
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import Shard, WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.metrics import relative_l2
from wavesim.provenance import file_hash
from wavesim.recipes import FORECASTERS, RecipeConfig, recipe
from wavesim.surrogate import load, rollout
from wavesim.surrogate.checkpoint import read_header
from wavesim.surrogate.logs import tensorboard
from wavesim.training_run import train_run
from wavesim.viz.runs import find_run

RECIPE = RecipeConfig(
    forecaster=ForecasterConfig(width=8, ranks=(4,), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4),
    training=TrainingConfig(unrolls=(1, 2), shares=(0.5, 0.5), iterations=12, batch=2, validate_every=5),
)
TOML = """[forecaster]
width = 8
ranks = [4]
encoder_width = 8
encoder_ranks = [2, 2]
kernel_size = 3
[training]
unrolls = [2]
shares = [1.0]
iterations = 4
batch = 2
validate_every = 2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Standing waves p = cos(pi m x) cos(c pi m t), in media of their own."""
    root = tmp_path_factory.mktemp("standing") / "data of mine"
    x, time = (np.arange(16) + 0.5) / 16, np.arange(9) / 8
    for split, speeds in (("train", [0.8, 1.0, 1.2]), ("valid", [0.9, 1.1])):
        c = np.array(speeds)[:, None, None, None]
        t, shape = time[None, :, None, None], np.cos(np.pi * x)[None, None, None, :] * np.ones((16, 1))
        ones = np.ones((len(speeds), 16, 16))
        shard = Shard(
            pressure=shape * np.cos(c * np.pi * t),
            pressure_rate=-c * np.pi * shape * np.sin(c * np.pi * t),
            bulk_modulus=c[:, 0] ** 2 * ones,
            density=ones,
            time=time,
            x=x,
            y=x,
            parameters={},
            about={"config": {}},
        )
        write_shard(root / "data" / split / f"{split}.hdf5", shard)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one"
    assert train_run(RECIPE, data, out, seed=3, command="wavesim train --seed 3")
    return out


def test_the_folder_holds_settings_log_curves_model_and_card(run: Path) -> None:
    names = {path.name for path in run.iterdir()} - {"tensorboard"}
    assert names == {"config.toml", "log.txt", "curves.csv", "curves.png", "model.safetensors", "README.md", ".lock"}
    with open(run / "curves.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == [5, 10, 12] and [row["unroll"] for row in rows] == ["1", "2", "2"]
    assert np.std(imread(run / "curves.png")) > 0.01
    log = (run / "log.txt").read_text().splitlines()
    assert len(log) == 5 and "wavesim train --seed 3" in log[0] and "whole after" in log[-1]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* ", line) for line in log)
    assert f"validation error {float(rows[1]['validation_error']):.5g}" in log[2]


def test_the_settings_can_be_given_back(run: Path) -> None:
    said = tomllib.loads((run / "config.toml").read_text())
    assert said["seed"] == 3 and recipe(str(run / "config.toml"), RecipeConfig()) == RECIPE


def test_the_models_file_says_where_it_comes_from(run: Path, data: Path) -> None:
    header = read_header(run / "model.safetensors")
    said = tomllib.loads((run / "config.toml").read_text())
    assert header["config"] == RECIPE.forecaster and header["about"]["seed"] == 3
    assert header["about"]["data"]["hash"] == said["data_hash"] and header["about"]["data"]["grid"] == [16, 16]
    assert header["about"]["training"]["iterations"] == 12 and "none" in header["about"]["data"]["normalisation"]


def test_the_card_states_the_errors_of_the_model_in_the_folder(run: Path, data: Path) -> None:
    card, valid, model = (run / "README.md").read_text(), WaveDataset(data, "valid"), load(run / "model.safetensors")
    errors = []
    for k in range(len(valid)):
        trajectory = valid.trajectory(k)
        forecast = rollout(model, trajectory.state[0], trajectory.medium, 8)
        errors.append(relative_l2(forecast[:, 0], trajectory.state[1:, 0]))
    mean, worst = np.mean(errors, axis=0), np.max(errors, axis=0)
    table = dict(re.findall(r"^\| (\d+) \| (.*) \|$", card, flags=re.MULTILINE))
    assert list(table) == ["1", "2", "4", "8"]
    for frame in (1, 2, 4, 8):
        numbers = [float(one) for one in table[str(frame)].split(" | ")]
        assert numbers[:2] == pytest.approx([mean[frame - 1], worst[frame - 1]], abs=2e-4)
    # Nothing changes: |cos(c pi t) - 1| / |cos(c pi t)|, the same in every cell.
    still = np.mean([abs(np.cos(c * np.pi * 4 / 8) - 1) / abs(np.cos(c * np.pi * 4 / 8)) for c in (0.9, 1.1)])
    assert float(table["4"].split(" | ")[2]) == pytest.approx(still, rel=1e-3)
    for part in (
        file_hash(run / "model.safetensors"),
        "curves.png",
        "`wavesim train --seed 3`",
        str(data),
        " s for 12",
    ):
        assert part in card
    assert f"{sum(p.numel() for p in model.parameters()):,};" in card


def test_a_second_call_leaves_a_whole_run_as_it_is(run: Path, data: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.iterdir() if path.is_file()}
    assert train_run(RECIPE, data, run, seed=3) is False
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


def test_a_run_from_before_a_setting_was_added_is_known_again(run: Path, data: Path, tmp_path: Path) -> None:
    older = Path(shutil.copytree(run, tmp_path / "older"))
    config = older / "config.toml"
    lines = [line for line in config.read_text().splitlines(True) if not line.startswith("optimizer")]
    assert len(lines) < len(config.read_text().splitlines())
    config.write_text("".join(lines))
    assert train_run(RECIPE, data, older, seed=3) is False


def killed(at: int) -> Callable[..., None]:
    def progress(now: int, *_: object) -> None:
        if now == at:
            raise KeyboardInterrupt

    return progress


def test_killed_and_called_again_it_ends_as_the_unbroken_one(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_run(RECIPE, data, tmp_path / "run", seed=3, progress=killed(8))
    assert (tmp_path / "run" / ".training" / "running.ckpt").is_file()
    seen: list[int] = []
    assert train_run(RECIPE, data, tmp_path / "run", seed=3, progress=lambda now, *_: seen.append(now))
    assert seen == list(range(6, 13))
    for name in ("model.safetensors", "curves.csv", "config.toml"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()
    assert (tmp_path / "run" / "log.txt").read_text().count("wavesim.train_run(...)") == 2


def test_a_folder_of_something_else_is_refused_and_stays_as_it_is(run: Path, data: Path, tmp_path: Path) -> None:
    other = RECIPE.model_copy(update={"training": RECIPE.training.model_copy(update={"batch": 3})})
    spoiled = Path(shutil.copytree(data, tmp_path / "other data"))
    (spoiled / "data/train/train.hdf5").rename(spoiled / "data/train/renamed.hdf5")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "model.safetensors").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in (*run.iterdir(), *tmp_path.rglob("*")) if path.is_file()}
    for message, call in (
        (r"other settings \(training\.batch 2 there, 3 now\); give another --out", (other, data, run, 3)),
        (r"other settings \(seed 3 there, 4 now\); give", (RECIPE, data, run, 4)),
        (r"other settings \(other data: hash \w+ there, \w+ now\); give", (RECIPE, spoiled, run, 3)),
        (r"full is there and holds no training \(no config.toml\)", (RECIPE, data, tmp_path / "full", 3)),
    ):
        with pytest.raises(WavesimError, match=message):
            train_run(*call)
    assert {path: path.read_bytes() for path in before} == before
    begun = tmp_path / "begun"
    with pytest.raises(KeyboardInterrupt):
        train_run(RECIPE, data, begun, progress=killed(2))
    with pytest.raises(WavesimError, match="a training that is not whole; call `wavesim train` as before to go on"):
        find_run(begun)
    with sole_user(begun), pytest.raises(WavesimError, match="at work in"):
        train_run(RECIPE, data, begun)


def test_bad_input_writes_no_folder(data: Path, tmp_path: Path) -> None:
    long = RECIPE.model_copy(update={"training": TrainingConfig(unrolls=(9,), shares=(1,))})
    with pytest.raises(WavesimError, match="unrolls of 9 frames"):
        train_run(long, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_changes_what_it_says_and_keeps_the_rest() -> None:
    for name, changes in FORECASTERS.items():
        named = recipe(name, RECIPE)
        assert named.training == RECIPE.training
        assert named.forecaster == RECIPE.forecaster.model_copy(update=dict(changes))
    with pytest.raises(WavesimError, match=r"unknown model 'clasical'; models: one-way, classical.*; or give a \.toml"):
        recipe("clasical", RECIPE)


def test_the_window_and_the_evaluation_find_the_data_of_a_run(run: Path, data: Path) -> None:
    models, found = find_run(run)
    assert models == {run.name: run / "model.safetensors"} and found == data.resolve()


def test_the_command_line_trains_a_run_and_says_what_it_did(here: Callable, data: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(TOML)
    call = ("train", "--data", data, "--model", tmp_path / "small.toml", "--out", tmp_path / "run", "--seed", 2)
    code, printed, said = here(*call)
    assert code == 0 and "run: whole" in printed and "forecaster 'one-way'" in printed, said
    assert "--seed 2" in (tmp_path / "run" / "README.md").read_text()
    code, printed, said = here(*call)
    assert code == 0 and "was whole already, and stays as it is" in printed, said
    code, _, said = here(*call[:-1], 5)
    assert code == 2 and "seed 2 there, 5 now" in said and len(said.strip().splitlines()) == 1
    code, _, said = here("train", "--data", data, "--model", "clasical", "--out", tmp_path / "none")
    assert code == 2 and "unknown model 'clasical'" in said and not (tmp_path / "none").exists()


def test_the_curves_go_to_tensorboard_where_its_package_is_there(data: Path, tmp_path: Path) -> None:
    if tensorboard(tmp_path) is False:
        pytest.skip("neither tensorboard nor tensorboardX is installed")
    train_run(RECIPE, data, tmp_path / "run", seed=3)
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))


def test_the_forecaster_of_the_run_is_that_of_the_same_training_without_a_folder(
    run: Path, data: Path, tmp_path: Path
) -> None:
    from wavesim.surrogate import train

    alone = load(train(RECIPE.forecaster, RECIPE.training, data, tmp_path / "m.safetensors", seed=3)).state_dict()
    assert all(
        torch.equal(tensor, alone[name]) for name, tensor in load(run / "model.safetensors").state_dict().items()
    )
