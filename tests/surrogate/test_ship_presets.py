"""Models are shipped with what they promise: a small, short instance of benchmarks/ship_presets.py."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import wavesim
from wavesim.metrics import one_crossing
from wavesim.surrogate import load
from wavesim.surrogate.band import band_file

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # last: no script takes the name of a package

import apriori  # noqa: E402
import promises  # noqa: E402

SHIPPED = sorted(path.parent.name for path in (BENCHMARKS.parent / "data" / "models").glob("*/promise.json"))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
def test_a_pair_of_models_is_shipped_with_a_card_and_the_errors_on_fresh_data(tmp_path: Path) -> None:
    done = script("ship_presets.py", tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "random"
    promise, card = json.loads((folder / "promise.json").read_text()), (folder / "README.md").read_text()
    assert promise["seed"] != 0 and list(promise["rows"]) == ["classical", "compressed", "effective"]
    for name, row in promise["rows"].items():
        mean = np.mean(row["one_crossing"])
        assert 0 < mean < 2 and f"{mean:.3f}" in card and f"## {name}" in card
        assert load(folder / f"{name}.safetensors").weights() > 0
    assert "| made by |" in card and "| data |" in card and "seed 1000" in card

    parts, files = card.split("\n## "), {path.name: path.read_bytes() for path in folder.glob("c*.safetensors")}
    band = band_file(folder / "effective.safetensors")
    band.write_text("{}")
    again = script("ship_presets.py", tmp_path, "--arms", "effective")  # of the others all is kept but their errors
    assert again.returncode == 0 and not band.exists(), again.stderr
    assert [part.rstrip() for part in (folder / "README.md").read_text().split("\n## ")[1:]] == [
        part.rstrip() for part in parts[1:]
    ]
    assert json.loads((folder / "promise.json").read_text()) == promise
    assert {path.name: path.read_bytes() for path in folder.glob("c*.safetensors")} == files and len(files) == 2

    checked = script("promises.py", tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == 6
    for row in promise["rows"].values():  # promises that nothing keeps
        row["one_crossing"] = [error / 10 for error in row["one_crossing"]]
    (folder / "promise.json").write_text(json.dumps(promise))
    broken = script("promises.py", tmp_path)
    assert broken.returncode != 0 and "broken" in broken.stderr


def script(name: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / name, "--quick", "--presets", "random", "--folder", folder / "runs",
               "--models", folder / "models", *more]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
@pytest.mark.parametrize("preset", [preset for preset in SHIPPED if not preset.startswith("packing")])
def test_shipped_models_reach_the_errors_on_their_cards_over_a_few_fresh_trajectories(
    preset: str, tmp_path: Path
) -> None:
    promise = json.loads((BENCHMARKS.parent / "data" / "models" / preset / "promise.json").read_text())
    data = wavesim.WaveDataset(apriori.generated(preset, apriori.Scale(), tmp_path, 24, seed=4000), "test")
    end = one_crossing(data.frame_interval, data.frames - 1)
    for name, row in promise["rows"].items():
        model = load(BENCHMARKS.parent / "data" / "models" / preset / f"{name}.safetensors")
        found = []
        for place in range(len(data)):
            states, medium = data.window(place, 0, end + 1), data.medium(place)
            forecast = wavesim.rollout(model, states[0], medium, end)
            found.append(float(wavesim.metrics.relative_l2(forecast[-1:, 0], states[-1:, 0])[0]))
        promised = row["one_crossing"]
        assert np.mean(found) <= promises.allowed(promised, len(found)), name
        assert np.mean(found) > np.mean(promised) / 3, name  # a card that promises too little says nothing


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
@pytest.mark.parametrize("preset", SHIPPED)
def test_shipped_models_reach_the_errors_on_their_cards_over_fresh_data(preset: str, tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "promises.py", "--presets", preset, "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
