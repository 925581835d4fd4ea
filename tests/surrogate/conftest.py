"""Exact data for the forecasters: cosine modes between rigid walls in uniform media, as cell averages."""

from pathlib import Path

import numpy as np
import pytest

from wavesim.dataset import Shard, write_shard, write_statistics
from wavesim.provenance import generator


def cosine(mode: int, cells: int) -> np.ndarray:
    """Averages of cos(mode pi x) over equal cells of [0, 1]."""
    edges = np.linspace(0, 1, cells + 1)
    if mode == 0:
        return np.ones(cells)
    return np.diff(np.sin(mode * np.pi * edges)) * cells / (mode * np.pi)


def exact_shard(cells: int, frames: int, courant: float, speeds: list[float], seed: int, coarsest: int = 1) -> Shard:
    """Sums of four modes, one trajectory for each wave speed; density 1, bulk modulus c^2.

    The modes are the `coarsest` and up to five times as fine.
    """
    rng = generator(seed, "modes")
    time = np.arange(frames) * courant / cells
    pressure = np.zeros((len(speeds), frames, cells, cells))
    rate = np.zeros_like(pressure)
    for k, c in enumerate(speeds):
        for _ in range(4):
            m, n = rng.integers(coarsest, 5 * coarsest + 1, 2)
            amplitude, omega = rng.normal(), c * np.pi * np.hypot(m, n)
            shape = amplitude * np.outer(cosine(n, cells), cosine(m, cells))
            pressure[k] += np.cos(omega * time)[:, None, None] * shape
            rate[k] -= omega * np.sin(omega * time)[:, None, None] * shape
    ones = np.ones((len(speeds), cells, cells))
    centres = (np.arange(cells) + 0.5) / cells
    kappa = np.array(speeds)[:, None, None] ** 2 * ones
    return Shard(pressure, rate, kappa, ones, time, centres, centres, {}, {"config": {}})


@pytest.fixture(scope="session")
def modes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 16 x 16 cells and 17 frames of 2 cells."""
    root = tmp_path_factory.mktemp("modes")
    for split, speeds, seed in (("train", [0.8, 1.0, 1.2, 1.1, 0.9, 1.05], 1), ("valid", [0.95, 1.15], 2)):
        write_shard(root / "data" / split / f"{split}.hdf5", exact_shard(16, 17, 2.0, speeds, seed))
    write_statistics(root)
    return root
