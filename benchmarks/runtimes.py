"""Shipped forecasters in every runtime and precision: milliseconds a frame at two grids, and the error to the truth.

Times are taken in turns, one thread, one trajectory (wavesim.bench); on the larger grid each cell stands for four.
Errors are means over the dataset's test trajectories, relative L2 of the pressure after one crossing; int8 has its
ranges from trajectories that train. It writes results/runtimes.md.

    OMP_NUM_THREADS=1 python benchmarks/runtimes.py runs/apriori/data/packing-256-64 [--models data/models/packing]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from wavesim import bench
from wavesim.dataset import WaveDataset
from wavesim.metrics import one_crossing, relative_l2
from wavesim.surrogate import load, rollout
from wavesim.surrogate.runtimes import steppers

ROOT = Path(__file__).parents[1]
REPEAT = 2


def errors(path: Path, data: Path) -> dict[tuple[str, str], float]:
    """After one crossing, by runtime and precision."""
    test = WaveDataset(data, "test")
    crossing = one_crossing(test.frame_interval, test.frames - 1)
    with tempfile.TemporaryDirectory() as folder:
        found = steppers(load(path), Path(folder) / "m", test.grid, bench.calibration(data))
        apart = {}
        for key, model in found.items():
            each = []
            for i in range(len(test)):
                truth = test.window(i, crossing, 1)[0, 0]
                forecast = rollout(model, test.window(i, 0, 1)[0], test.medium(i), crossing)[-1, 0]
                each.append(relative_l2(forecast, truth))
            apart[key] = float(np.mean(each))
    return apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("waves", type=Path, help="the dataset that the models were trained on")
    parser.add_argument("--models", type=Path, default=ROOT / "data" / "models" / "packing", help="a folder of them")
    parser.add_argument("--quick", action="store_true", help="one model")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "runtimes.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    y, x = WaveDataset(given.waves, "test").grid
    about = f"{platform.machine()}, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[1]:.1f}, one thread, batch 1"
    lines = [
        f"{about}; milliseconds a frame, the smallest (median); error: relative L2 after one crossing.",
        "",
        f"| model | runtime | precision | {' | '.join(f'{x * k} x {y * k}' for k in (1, REPEAT))} | error |",
        "|---|---|---|---:|---:|---:|",
    ]
    for path in sorted(given.models.glob("*.safetensors"))[-1 if given.quick else 0 :]:
        small = {(row.runtime, row.precision): row for row in bench.bench(path, given.waves)}
        large = {(row.runtime, row.precision): row for row in bench.bench(path, given.waves, frames=1, repeat=REPEAT)}
        apart = errors(path, given.waves)
        for key, row in small.items():
            times = [
                f"{one.milliseconds:.2f} ({one.milliseconds_median:.2f})" if one else ""
                for one in (row, large.get(key))
            ]
            lines.append(f"| {path.stem} | {' | '.join(key)} | {' | '.join(times)} | {apart[key]:.4f} |")
    given.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
