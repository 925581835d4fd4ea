"""Standing waves in uniform media on 12 x 12 cells, and small forecasters: pruning is tested here, not waves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pruning_cases import SMALL, TRAINING

from wavesim.config import ForecasterConfig, PruningConfig
from wavesim.dataset import Shard, write_shard
from wavesim.pruning import prune
from wavesim.pruning.learning import learn
from wavesim.surrogate import Forecaster, train

CELLS, FRAMES, FRAME_INTERVAL = 12, 9, 1 / 12


def standing_mode(nodes_x: int, nodes_y: int, wave_speed: float) -> dict[str, np.ndarray]:
    """p = cos(m pi x) cos(n pi y) cos(c pi sqrt(m^2 + n^2) t): exact between rigid walls, rho = 1, kappa = c^2."""
    centres = (np.arange(CELLS) + 0.5) / CELLS
    frequency = wave_speed * np.pi * np.hypot(nodes_x, nodes_y)
    time = FRAME_INTERVAL * np.arange(FRAMES)
    shape = np.cos(nodes_y * np.pi * centres)[:, None] * np.cos(nodes_x * np.pi * centres)
    return {
        "pressure": np.cos(frequency * time)[:, None, None] * shape,
        "pressure_rate": -frequency * np.sin(frequency * time)[:, None, None] * shape,
        "bulk_modulus": np.full((CELLS, CELLS), wave_speed**2),
        "density": np.ones((CELLS, CELLS)),
    }


@pytest.fixture(scope="session")
def standing_waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset of a packing for each split, two trajectories through each."""
    root = tmp_path_factory.mktemp("standing_waves")
    centres = (np.arange(CELLS) + 0.5) / CELLS
    for number, (split, modes) in enumerate(
        {
            "train": [(1, 0, 1.0), (2, 1, 0.8)],
            "valid": [(1, 1, 0.9), (0, 2, 1.1)],
            "test": [(2, 0, 0.9), (1, 2, 1.0)],
        }.items()
    ):
        fields = [standing_mode(*mode) for mode in modes]
        stacked = {name: np.stack([field[name] for field in fields]) for name in fields[0]}
        time = FRAME_INTERVAL * np.arange(FRAMES)
        shard = Shard(**stacked, time=time, x=centres, y=centres, parameters={}, about={})
        write_shard(root / "data" / split / f"packing_{number:06d}.hdf5", shard)
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, standing_waves: Path) -> dict[str, Path]:
    """Family -> file of a small trained forecaster."""
    folder = tmp_path_factory.mktemp("trained")
    return {
        family: train(
            ForecasterConfig(convolution=family, **SMALL), TRAINING, standing_waves, folder / f"{family}.safetensors"
        )
        for family in ("one-way", "classical")
    }


@pytest.fixture(scope="session")
def history(trained: dict[str, Path], standing_waves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forecaster that the lottery ticket cut in three rounds, each rewound to the weights after two steps."""
    out = tmp_path_factory.mktemp("history") / "history.safetensors"
    config = PruningConfig(
        method="lottery-ticket", restart="rewind", rewind_to=2, density=0.3, rounds=3, iterations=4, multiple=2
    )
    prune(trained["one-way"], standing_waves, config, TRAINING, out)
    return out


@pytest.fixture(scope="session")
def regressor(history: Path, standing_waves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a regressor that learned from it."""
    out = tmp_path_factory.mktemp("regressor") / "regressor.safetensors"
    learn([history], standing_waves, out)
    return out


@pytest.fixture
def make_forecaster() -> Callable[..., Forecaster]:
    """A forecaster with random weights throughout, the head and the biases too, which start at zero."""

    def make(convolution: str = "one-way", seed: int = 0, **changes) -> Forecaster:
        torch.manual_seed(seed)
        model = Forecaster(ForecasterConfig(convolution=convolution, **{**SMALL, **changes}), FRAME_INTERVAL * CELLS)
        for weight in (model.network.head.weight, model.network.look_bias, model.network.gates.bias):
            torch.nn.init.normal_(weight, std=0.3)
        return model.eval()

    return make
