"""What data/ ships keeps what its cards say, right after set-up, without any demo."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from well_format import format_defects

import wavesim
from wavesim.dataset import check
from wavesim.metrics import relative_l2
from wavesim.viz.runs import find_run

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
