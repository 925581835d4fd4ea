"""The benchmark of packings runs; how fast, it says itself, on a machine with nothing else to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def test_the_benchmark_compares_with_plain_lammps_and_makes_whole_points(tmp_path):
    out = tmp_path / "granular.md"
    command = [sys.executable, ROOT / "benchmarks" / "granular.py", "--quick", "--out", out]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    steps, neighbours, points = out.read_text().split("\n\n")[1:]
    ratios = [float(line.split(" | ")[-1].strip("| ")) for line in steps.splitlines()[2:]]
    assert len(ratios) == 3 and all(0 < ratio < np.inf for ratio in ratios)
    assert "| bin | multi |" in neighbours
    assert len(points.splitlines()) == 5 and "nan" not in points
