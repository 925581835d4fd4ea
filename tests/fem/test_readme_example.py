"""The examples of the README and of the page about the truth run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest


def test_the_readmes_example_runs_and_something_is_heard():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    found = re.search(r"## Waves of your own\n\n```python\n(.*?)```", readme, re.S)
    assert found
    names: dict = {}
    exec(found.group(1), names)
    heard = names["traces"].pressure
    assert np.isfinite(heard).all() and 1e-3 < np.abs(heard).max() < 1
    assert np.abs(heard[names["traces"].times < 0.3]).max() < 1e-3 * np.abs(heard).max()  # nothing before it can arrive


def test_the_example_of_a_packing_runs_and_its_waves_keep_their_energy(monkeypatch):
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    root = Path(__file__).parents[2]
    found = re.search(r"## From a packing to waves\n.*?```python\n(.*?)```", (root / "docs/truth.md").read_text(), re.S)
    assert found
    monkeypatch.chdir(root)
    names: dict = {}
    exec(found.group(1), names)
    waves = names["waves"]
    assert waves.pressure.shape == waves.pressure_rate.shape == (5, 64, 64) and waves.unknowns > 10_000
    assert np.ptp(waves.energy) < 1e-4 * waves.energy[0] and 0 < waves.unresolved_share.max() < 0.2
    assert 0.1 < np.abs(waves.pressure).max() < 10
