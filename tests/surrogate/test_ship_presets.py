"""Models are shipped with what they promise: a small, short instance of benchmarks/ship_presets.py."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from wavesim.surrogate import load

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ship_presets.py"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
def test_a_pair_of_models_is_shipped_with_a_card_and_the_errors_on_fresh_data(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--quick", "--presets", "random", "--folder", tmp_path / "runs",
               "--models", tmp_path / "models"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "random"
    promise, card = json.loads((folder / "promise.json").read_text()), (folder / "README.md").read_text()
    assert promise["seed"] != 0 and list(promise["rows"]) == ["classical", "compressed"]
    for name, row in promise["rows"].items():
        assert 0 < row["one_crossing"] < 2 and f"{row['one_crossing']:.3f}" in card and f"## {name}" in card
        assert load(folder / f"{name}.safetensors").weights() > 0
    assert "| made by |" in card and "| data |" in card and "seed 1000" in card
