"""How long does a dataset take, and where does the time go? Prints a table, and what 1,000 simulations would take.

The preset `random` as it is: uniform density, 100 frames of both fields on 128 x 128 cells, gzip, the truth's error of
one trajectory a file, checksums, statistics, and the check of every value. A first dataset of one file a split, not
counted, compiles what has to be compiled.

A second table has the truth's own error and the cost of three simulations of every preset, each alone, and of three
through each of six of the sample's packings.

    OMP_NUM_THREADS=1 python benchmarks/generation.py [--n 64] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py

from wavesim.fem import generate_dataset, generate_waves
from wavesim.preset_config import GRAINS, PRESETS, RandomConfig

SEED, WHOLE = 0, 1000
PACKINGS = Path(__file__).parents[1] / "data" / "sample" / "packings.h5"


def spent() -> tuple[float, float]:
    """Seconds on the wall, and of the processor in this process and the workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


def every_preset() -> None:
    """Print the second table."""
    print("\n| preset | error of the pressure, mean | last frame | not held by the grid | ms a frame |")
    print("|---|---|---|---|---|")
    for name, kind in PRESETS.items():
        with tempfile.TemporaryDirectory() as folder:
            made = generate_dataset(kind(shard=1), Path(folder) / name, 3, SEED, 2, progress=False)
        say(name, made)
    packing = GRAINS["packing"](pulses=3, verified=2)
    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(PACKINGS) as every, h5py.File(Path(folder) / "few.h5", "w") as few:
            for name in list(every)[:6]:
                every.copy(name, few)
        say("packing", generate_waves(packing, Path(folder) / "few.h5", Path(folder) / "packing", SEED, 2, False))


def say(name: str, made: dict[str, Any]) -> None:
    """A row of the second table."""
    error = made["truth_error"]["pressure"]
    print(f"| {name} | {error['mean']:.2%} | {error['last']:.2%} | {made['unresolved_share']:.2%} ", end="")
    print(f"| {made['milliseconds_per_frame']:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    config = RandomConfig()
    with tempfile.TemporaryDirectory() as folder:
        short = config.model_copy(update={"shard": 1, "frames": 2})
        begin = spent()
        generate_dataset(short, Path(folder) / "short", 3, SEED, given.workers, progress=False)
        fixed = [after - before for after, before in zip(spent(), begin, strict=True)]
        begin = spent()
        summary = generate_dataset(config, Path(folder) / "whole", given.n, SEED, given.workers, progress=False)
        whole = [after - before for after, before in zip(spent(), begin, strict=True)]
        size = sum(path.stat().st_size for path in (Path(folder) / "whole").rglob("*.hdf5"))
    # Starting the workers costs once, not once a trajectory.
    wall, processor = ((total - once) / given.n for total, once in zip(whole, fixed, strict=True))
    load = os.getloadavg()[1]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, load {load:.1f}, seed {SEED}, ",
        end="",
    )
    print(f"{given.n} simulations, {given.workers} workers\n")
    print("| | a simulation | 1,000 simulations |")
    print("|---|---|---|")
    print(f"| on the wall, as loaded | {wall:.2f} s | {(wall * WHOLE + fixed[0]) / 60:.1f} min |")
    idle = (processor * WHOLE + fixed[1]) / given.workers / 60
    print(f"| of the processor | {processor:.2f} s | {idle:.1f} min on {given.workers} idle cores |")
    print(f"| on the disk | {size / given.n / 1e6:.2f} MB | {size / given.n * WHOLE / 1e9:.1f} GB |")
    error = summary["truth_error"]["pressure"]
    print(
        f"\nTruth's own error: {error['mean']:.2%} of the pressure on average, {error['last']:.2%} at the last frame; "
    )
    print(f"share that the grid cannot hold: {summary['unresolved_share']:.2%}; ", end="")
    print(f"stepping and sampling: {summary['milliseconds_per_frame']:.2f} ms a frame.")
    every_preset()


if __name__ == "__main__":
    main()
