"""Shipped forecasters in every runtime and precision: milliseconds a frame at two grids, and the error to the truth.

Times are taken in turns, one thread, one trajectory (wavesim.bench); on the larger grid each cell stands for four.
Errors are means over the dataset's test trajectories, relative L2 of the pressure after one crossing; int8 has its
ranges from trajectories that train. Aims: of the compressed models, on 128 x 128 cells, 2 ms in float32, and 1 ms in
fewer bits at little more error. It writes results/runtimes.md, and results/runtimes_summary.md of preset packing's
compressed ones, with the aims.

    OMP_NUM_THREADS=1 python benchmarks/runtimes.py runs/apriori/data/packing-256-64 runs/apriori/data/random-688-64
        runs/apriori/data/cavity-256-64
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from dataclasses import dataclass
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
WORSE = 1.1  # of the error in float32, up to which fewer bits count
NAMES = {"compiled": "compiled loops", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}


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


@dataclass(frozen=True)
class Row:
    """A model in a runtime. times: milliseconds, smallest and median, by cells along a side."""

    model: str
    runtime: str
    precision: str
    times: dict[int, tuple[float, float]]
    error: float


def rows_of(waves: Path, path: Path) -> list[Row]:
    """Fastest first."""
    cells = WaveDataset(waves, "test").grid[0]
    finer = {cells: bench.bench(path, waves), REPEAT * cells: bench.bench(path, waves, frames=1, repeat=REPEAT)}
    apart = errors(path, waves)
    return [
        Row(
            f"{path.parent.name}/{path.stem}",
            row.runtime,
            row.precision,
            {
                size: (one.milliseconds, one.milliseconds_median)
                for size, some in finer.items()
                for one in some
                if (one.runtime, one.precision) == (row.runtime, row.precision)
            },
            apart[row.runtime, row.precision],
        )
        for row in finer[cells]
    ]


def table(rows: list[Row]) -> list[str]:
    grids = sorted({size for row in rows for size in row.times})
    lines = [
        f"| model | runtime | precision | {' | '.join(f'{size} x {size}' for size in grids)} | error |",
        "|---|---|---|" + "---:|" * (len(grids) + 1),
    ]
    for row in rows:
        times = [f"{row.times[size][0]:.2f} ({row.times[size][1]:.2f})" if size in row.times else "" for size in grids]
        lines.append(f"| {row.model} | {row.runtime} | {row.precision} | {' | '.join(times)} | {row.error:.4f} |")
    return lines


def verdict(rows: list[Row], cells: int) -> list[str]:
    """Of each compressed model, and each with an encoder, whether its fastest runtimes meet the aims."""
    lines = []
    for model in dict.fromkeys(row.model for row in rows if not row.model.endswith("/classical")):
        own = [row for row in rows if row.model == model and cells in row.times]
        exact = min(row.error for row in own if row.precision == "float32")
        told, fast = [], float("inf")
        for words, aim, some in (
            ("float32", 2.0, [row for row in own if row.precision == "float32"]),
            ("fewer bits", 1.0, [row for row in own if row.precision != "float32" and row.error <= WORSE * exact]),
        ):
            best = min(some, key=lambda row: row.times[cells], default=None)
            if words == "fewer bits" and fast <= aim:
                told.append(f"so that the aim of {aim:g} ms in fewer bits is met without any")
                continue
            if best is None:
                told.append(f"in {words} it does not run, or only at more than {WORSE} times the error")
                continue
            least = best.times[cells][0]
            fast = min(fast, least)
            kind = "" if words == "float32" else f" ({best.precision})"
            told.append(
                f"{least:.2g} ms in {words}{kind} in {NAMES[best.runtime]} (the aim is {aim:g} ms: "
                f"{'met' if least <= aim else 'missed'})"
            )
        lines.append(f"- `{model}`, {cells} x {cells} cells: {', '.join(told)}.")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("waves", type=Path, nargs="+", help="the datasets that the models of presets were trained on")
    parser.add_argument("--models", type=Path, default=ROOT / "data" / "models", help="folders of them, by preset")
    parser.add_argument("--quick", action="store_true", help="one model of each")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "runtimes.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    about = f"{platform.machine()}, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[1]:.1f}, one thread, batch 1"
    for waves in given.waves:
        preset = WaveDataset(waves, "test").about(0)["config"]["preset"]
        for path in sorted((given.models / preset).glob("*.safetensors"))[-1 if given.quick else 0 :]:
            rows += rows_of(waves, path)
    text = [f"{about}; milliseconds a frame, the smallest (median); error: relative L2 after one crossing.", ""]
    told = verdict(rows, max(size for row in rows for size in row.times))
    shown = [row for row in rows if row.model in (f"packing/{name}" for name in ("compressed", "effective"))]
    whole, short = [*text, *table(rows)], [*text, *table(shown or rows), "", *told]
    given.out.write_text("\n".join([*whole, "", *told]) + "\n")
    given.out.with_stem(f"{given.out.stem}_summary").write_text("\n".join(short) + "\n")
    print("\n".join([*whole, "", *told]))


if __name__ == "__main__":
    main()
