"""How long does a dataset take, and where does the time go? Prints a table, and what 1,000 simulations would take.

The preset `random` as it is: uniform density, 100 frames of both fields on 128 x 128 cells, gzip, the truth's error of
one trajectory a file, checksums, statistics, and the check of every value. A first dataset of one file a split, not
counted, compiles what has to be compiled.

A second table has the truth's own error and the cost of three simulations of every preset, each alone; a third one,
with --packings, a dataset of resolved packings, the first eight of a file.

    OMP_NUM_THREADS=1 python benchmarks/generation.py [--n 64] [--workers 2] [--packings data/sample/packings.h5]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import h5py

from wavesim.fem import generate_dataset, generate_waves
from wavesim.preset_config import PRESETS, RandomConfig, ResolvedConfig

SEED, WHOLE = 0, 1000


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
        error = made["truth_error"]["pressure"]
        print(f"| {name} | {error['mean']:.2%} | {error['last']:.2%} | {made['unresolved_share']:.2%} ", end="")
        print(f"| {made['milliseconds_per_frame']:.1f} |", flush=True)


def resolved(packings: Path, workers: int) -> None:
    """Print the third table."""
    with tempfile.TemporaryDirectory() as folder:
        some, begin = Path(folder) / "packings.h5", spent()
        with h5py.File(packings) as file, h5py.File(some, "w") as copy:
            for name in sorted(file)[:8]:
                file.copy(name, copy)
        made = generate_waves(ResolvedConfig(), some, Path(folder) / "waves", SEED, workers, progress=False)
        size = sum(path.stat().st_size for path in (Path(folder) / "waves").rglob("*.hdf5"))
    wall, processor = (after - before for after, before in zip(spent(), begin, strict=True))
    n, error = sum(made["trajectories"].values()), made["truth_error"]["pressure"]
    print(f"\nResolved packings: 8 of {packings.name}, {n} simulations, {ResolvedConfig().frames} frames\n")
    print(
        "| on the wall, as loaded | of the processor | on the disk | error of the pressure, mean | last frame ", end=""
    )
    print("| not held by the grid | ms a frame |\n|---|---|---|---|---|---|---|")
    print(f"| {wall / 60:.1f} min | {processor / 60:.1f} min | {size / 1e6:.0f} MB | {error['mean']:.2%} ", end="")
    print(f"| {error['last']:.2%} | {made['unresolved_share']:.2%} | {made['milliseconds_per_frame']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--packings", type=Path)
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
    if given.packings is not None:
        resolved(given.packings, given.workers)


if __name__ == "__main__":
    main()
