"""What data/ ships keeps what its cards say, right after set-up, without any demo."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from well_format import format_defects

import wavesim
from wavesim.config import TrainingConfig, parse
from wavesim.dataset import check
from wavesim.metrics import relative_l2
from wavesim.recipes import RecipeConfig, recipe
from wavesim.surrogate.band import band_file, load_band
from wavesim.surrogate.checkpoint import fingerprint_of, read_header
from wavesim.surrogate.loops import CompiledForecaster
from wavesim.viz.runs import find_run, open_run

ROOT = Path(__file__).parents[1]
MODELS, SAMPLE = ROOT / "data" / "models" / "demo", ROOT / "data" / "sample"


@pytest.mark.parametrize("name", ["classical", "compressed", "pruned"])
def test_a_shipped_model_has_the_errors_on_its_card_over_the_shipped_trajectories(name: str) -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())
    row = next(row for row in results["rows"] if row["name"] == name)
    path = MODELS / f"{name}.safetensors"
    assert path.stat().st_size == row["stored_bytes"] and f"| {name} | {row['first_frames']:.3f}" in card()
    model, sample = wavesim.load(path), wavesim.WaveDataset(SAMPLE, "test")
    assert len(sample) == 2
    of_each_packing = results["trajectories"] // 6  # the sample holds the first one through the first two packings
    for place in range(2):
        trajectory = sample.trajectory(place)
        forecast = wavesim.rollout(model, trajectory.state[0], trajectory.medium, frames=64)
        errors = relative_l2(forecast[:, 0], trajectory.state[1:, 0])
        np.testing.assert_allclose(errors, row["errors"][place * of_each_packing], atol=2e-3)


@pytest.mark.parametrize("path", sorted((ROOT / "data" / "models").rglob("*.toml")), ids=lambda path: path.parent.name)
def test_a_recipe_beside_a_shipped_model_is_that_of_its_file(path: Path) -> None:
    header = read_header(path.with_suffix(".safetensors"))
    given = recipe(str(path), RecipeConfig())
    assert header["config"] == given.forecaster
    assert parse(header["about"]["training"], TrainingConfig, str(path)) == given.training
    assert f"--model {path.relative_to(ROOT)} " in (path.parent / "README.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "data" / "models").rglob("*.band.json")), ids=lambda path: path.name)
def test_a_band_beside_a_shipped_model_is_of_that_model(path: Path) -> None:
    band = load_band(path)
    model = path.with_name(path.name.replace(".band.json", ".safetensors"))
    assert band_file(model) == path and band.forecaster == fingerprint_of(wavesim.load(model))
    assert band.level == 0.9 and band.media >= 200


def shipped(learned: bool) -> list[Path]:
    """Learned steps, or hybrids of a coarse step and a network."""
    every = sorted(
        path for path in (ROOT / "data" / "models").rglob("*.safetensors") if path.parent.name != "published"
    )
    return [path for path in every if (wavesim.load(path).config.network == "effective") == learned]


def unseen(kappa: float, rho: float, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """A pulse in a square of discs, state and medium (1, 2, y, x)."""
    rng, x = np.random.default_rng(0), (np.arange(cells) + 0.5) / cells
    solid = np.zeros((cells, cells), bool)
    for (at_x, at_y), radius in zip(rng.random((40, 2)), rng.uniform(0.05, 0.08, 40), strict=True):
        solid |= (x - at_x) ** 2 + (x[:, None] - at_y) ** 2 < radius**2
    assert 0.2 < solid.mean() < 0.8
    medium = np.where(solid, [[[kappa]], [[rho]]], 1.0).astype(np.float32)[None]
    pulse = np.exp(-((x - 0.5) ** 2 + (x[:, None] - 0.5) ** 2) / (2 * 0.05**2))
    return np.stack((pulse, 0 * pulse)).astype(np.float32)[None], medium


@pytest.mark.parametrize("path", shipped(learned=False), ids=lambda path: f"{path.parent.name}-{path.stem}")
@torch.no_grad()
def test_a_shipped_hybrid_stays_within_its_energy_over_10000_frames_in_an_unseen_medium(path: Path) -> None:
    model, (state, medium) = wavesim.load(path), unseen(9.0, 4.0, 32)
    context = model.encode(torch.from_numpy(medium))
    budget, loops = float(model.budget(torch.from_numpy(state), context)), CompiledForecaster(model)
    bound = loops.start(state, medium)
    for _ in range(100):
        state = loops.advance(state, bound, frames=100)[:, -1]
        assert 0 < float(model.energy(torch.from_numpy(state), context)) <= budget * (1 + 1e-4)


@pytest.mark.parametrize("path", shipped(learned=True), ids=lambda path: f"{path.parent.name}-{path.stem}")
@torch.no_grad()
def test_a_shipped_step_keeps_its_energy_over_10000_frames_in_an_unseen_medium(path: Path) -> None:
    """In single precision, nothing scaled back; its own energy bounds the wave."""
    model, (state, medium) = wavesim.load(path), unseen(20.0, 5.0, 64)
    context = model.encode(torch.from_numpy(medium))

    def energy(state: np.ndarray) -> float:
        return float(model.coarse.scheme_energy(torch.from_numpy(state), context.stencil, context.substeps))

    loops = CompiledForecaster(model)
    bound, begin, course = loops.start(state, medium, budget=np.inf), energy(state), []
    for frame in range(10_000):
        state = loops.advance(state, bound)[:, -1]
        if frame % 100 == 99:
            course.append(energy(state) / begin)
    assert np.abs(np.array(course) - 1).max() < 1e-3
    stable = 1 - float(model.coarse.largest(context.stencil).max()) / (4 * context.substeps**2)
    assert 0 < model.energy(torch.from_numpy(state), context).item() <= begin / stable * 1.001


def card() -> str:
    return (MODELS / "README.md").read_text()


def test_the_readme_shows_the_table_that_the_demo_printed() -> None:
    assert (ROOT / "benchmarks" / "results" / "demo.md").read_text().strip() in (ROOT / "README.md").read_text()


def test_the_window_finds_models_and_sample() -> None:
    models, data = find_run(MODELS)
    assert list(models) == ["classical", "compressed", "pruned"] and data.resolve() == SAMPLE
    assert check(SAMPLE) == {"test": 2}


@pytest.mark.parametrize("path", sorted(SAMPLE.rglob("*.hdf5")), ids=lambda path: path.stem)
def test_the_shipped_trajectories_have_the_wells_format(path: Path) -> None:
    with h5py.File(path) as file:
        assert format_defects(file) == []


def test_shipped_files_are_small() -> None:
    sizes = {path: path.stat().st_size for path in (ROOT / "data").rglob("*") if path.is_file()}
    assert max(sizes.values()) < 5_000_000 and sum(sizes.values()) < 20_000_000


@pytest.mark.parametrize("waves", sorted((ROOT / "data" / "models").glob("*/waves")), ids=lambda path: path.parent.name)
def test_the_window_opens_shipped_models_on_unseen_waves_of_their_kind_with_their_bands(waves: Path) -> None:
    files, found = find_run(waves.parent)
    promise = json.loads((waves.parent / "promise.json").read_text())["rows"]
    assert found == waves and set(files) == set(promise) and check(waves) == {"test": 1}
    data = wavesim.WaveDataset(waves, "test")
    truth = data.trajectory(0)
    for name, path in files.items():
        forecast = wavesim.rollout(wavesim.load(path), truth.state[0], truth.medium, frames=data.frames - 1)
        assert relative_l2(forecast[-1:, 0], truth.state[-1:, 0])[0] < 1.2 * max(promise[name]["one_crossing"])
    with open_run(waves.parent, live=False) as session:
        assert set(session.bands) == {name for name, path in files.items() if band_file(path).is_file()}
