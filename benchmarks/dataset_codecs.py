"""Which lossless codec for a dataset's fields? Prints a table of sizes and times on real waves of the preset `random`.

Times are those of the processor, so that others at work on the machine do not count; files stay in the page cache.
Codecs beyond gzip and lzf need hdf5plugin, in the writer and in every reader: they are measured where it is installed.

    OMP_NUM_THREADS=1 python benchmarks/dataset_codecs.py [--trajectories 8] [--frames 48]
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

try:  # before dolfinx, which brings an HDF5 library of its own
    import hdf5plugin
except ImportError:
    hdf5plugin = None

from wavesim.fem.batch import simulate_all
from wavesim.fem.stored import draw_preset
from wavesim.preset_config import RandomConfig

SEED, WINDOW, ROUNDS, CHUNK = 0, 12, 3, 8


def codecs() -> dict[str, dict[str, Any]]:
    """Name -> arguments of h5py's create_dataset."""
    found: dict[str, dict[str, Any]] = {
        "none": {},
        "lzf": {"compression": "lzf"},
        "lzf, shuffle": {"compression": "lzf", "shuffle": True},
        "gzip 1, shuffle": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
        "gzip 4, shuffle": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
    }
    if hdf5plugin is None:
        return found
    return found | {
        "bitshuffle lz4 (plugin)": dict(hdf5plugin.Bitshuffle()),
        "bitshuffle zstd 3 (plugin)": dict(hdf5plugin.Bitshuffle(cname="zstd", clevel=3)),
        "zstd 3, shuffle (plugin)": dict(hdf5plugin.Zstd(clevel=3), shuffle=True),
    }


def measure(path: Path, fields: np.ndarray, options: dict[str, Any]) -> tuple[float, float, float, float]:
    """Ratio, MB a second written and read, and milliseconds for a random window. fields: (trajectory, time, x, y)."""
    n, frames, width, height = fields.shape
    megabytes, random = fields.nbytes / 1e6, np.random.default_rng(SEED)
    written, read, window = [], [], []
    for _ in range(ROUNDS):
        begin = time.process_time()
        with h5py.File(path, "w") as file:
            file.create_dataset("field", data=fields, chunks=(1, CHUNK, width, height), **options)
        written.append(time.process_time() - begin)
        with h5py.File(path) as file:
            begin = time.process_time()
            back = file["field"][:]
            read.append(time.process_time() - begin)
            places = [(random.integers(n), random.integers(frames - WINDOW)) for _ in range(30)]
            begin = time.process_time()
            for row, start in places:
                file["field"][row, start : start + WINDOW]
            window.append((time.process_time() - begin) / len(places))
        assert np.array_equal(back, fields)
    ratio = fields.nbytes / path.stat().st_size
    return ratio, megabytes / min(written), megabytes / min(read), 1e3 * min(window)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=8)
    parser.add_argument("--frames", type=int, default=48)
    given = parser.parse_args()
    config = RandomConfig(frames=given.frames, shard=given.trajectories)
    media, pulses = zip(*(draw_preset(config, SEED, k) for k in range(given.trajectories)), strict=True)
    runs = simulate_all(config, media, pulses)
    fields = np.stack([run.pressure.swapaxes(-1, -2) for run in runs])
    print(
        f"{platform.machine()}, {time.strftime('%Y-%m-%d')}, h5py {h5py.__version__}, seed {SEED}, pressure of ", end=""
    )
    print(f"{fields.shape[0]} simulations of {fields.shape[1]} frames on {fields.shape[2]} x {fields.shape[3]} cells, ")
    print(f"float32, chunks of {CHUNK} frames; windows of {WINDOW} frames; processor time, best of {ROUNDS}\n")
    print("| codec | size | written, MB/s | read, MB/s | random window, ms |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, options in codecs().items():
            ratio, written, read, window = measure(Path(folder) / "field.h5", fields, options)
            print(f"| {name} | {1 / ratio:.1%} | {written:.0f} | {read:.0f} | {window:.2f} |", flush=True)


if __name__ == "__main__":
    main()
