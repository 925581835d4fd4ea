"""The benchmark of the steps runs, and what it prints has every table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_prints_a_ratio_over_the_naive_way_and_a_roofline(tmp_path):
    out = tmp_path / "fem.md"
    command = [sys.executable, ROOT / "benchmarks" / "fem.py", "--quick", "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
    rows = [line.split(" | ") for line in out.read_text().splitlines() if line.startswith("| ours, batch of 32")]
    assert len(rows) == 2  # degrees 1 and 4
    for row in rows:
        assert float(row[3].split(" (")[0]) > 20  # times the naive way; at this small size, hundreds
    assert "shares differ by a factor of" in out.read_text()
