"""A small dataset with known values, shared by every test: 5 x 7 cells, different in x and y, so that a transposed
axis shows. The fields are closed forms; they need not solve the wave equation."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from wavesim.dataset import SPLITS, Shard, write_shard

# `make test` says the same of the same tree; `pytest --hypothesis-profile=search` looks for new examples.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("same")

FRAME_INTERVAL = 1 / 96  # not a decimal number: rounding it would show in dt p_t


@dataclass(frozen=True)
class Waves:
    """Closed forms of trajectory k at time t in the point (x, y), and shards made of them."""

    height: int = 5
    width: int = 7
    frame_interval: float = FRAME_INTERVAL

    @staticmethod
    def pressure(k, t, x, y):
        return (1 + k) * np.cos(3 * x + t) * (1 + y**2)

    @staticmethod
    def pressure_rate(k, t, x, y):
        return -(1 + k) * np.sin(3 * x + t) * (1 + y**2)

    @staticmethod
    def bulk_modulus(k, x, y):
        return 2 + k + x**2 + 0 * y

    @staticmethod
    def density(k, x, y):
        return 1 + 0.5 * y + 0 * x

    @property
    def x(self) -> np.ndarray:
        return (np.arange(self.width) + 0.5) / self.width

    @property
    def y(self) -> np.ndarray:
        return (np.arange(self.height) + 0.5) / self.height

    def shard(self, first: int = 0, trajectories: int = 2, frames: int = 6, **changes) -> Shard:
        """Trajectories `first`, `first` + 1, ... as one shard; `changes` replace its fields."""
        time = self.frame_interval * np.arange(frames)
        k = np.arange(first, first + trajectories)
        k_, t_, y_, x_ = np.meshgrid(k, time, self.y, self.x, indexing="ij")
        whole = {
            "pressure": self.pressure(k_, t_, x_, y_),
            "pressure_rate": self.pressure_rate(k_, t_, x_, y_),
            "bulk_modulus": self.bulk_modulus(k_, x_, y_)[:, 0],
            "density": self.density(k_, x_, y_)[:, 0],
            "time": time,
            "x": self.x,
            "y": self.y,
            "parameters": {"size_ratio": 0.5, "phi": 0.84},
            "about": {"seed": 7, "first": first},
        }
        return Shard(**{**whole, **changes})

    def write(self, root: Path, trajectories: int = 2, frames: int = 6) -> Path:
        """A dataset of four packings: two to train on, one to validate, one to test."""
        for packing, split in enumerate(("train", *SPLITS)):
            shard = self.shard(packing * trajectories, trajectories, frames)
            write_shard(root / "data" / split / f"packing_{packing:06d}.hdf5", shard)
        return root


@pytest.fixture
def waves() -> Waves:
    return Waves()


@pytest.fixture
def wave_dataset(tmp_path: Path, waves: Waves) -> Path:
    """The folder of a whole dataset, without its stats.yaml."""
    return waves.write(tmp_path / "dataset")


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole demo on the quick settings, made once for all processes of the tests, and a copy of it for each."""
    from wavesim.cli import settings
    from wavesim.demo import run_demo

    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "demo-of-all"
    shared.mkdir(exist_ok=True)
    with open(shared / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run_demo(shared / "run", settings("quick"), seed=0, progress=False)  # one that is whole stays as it is
    return Path(shutil.copytree(shared / "run", tmp_path_factory.mktemp("demo") / "run"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: its exit code, what it printed, and what it complained of."""

    from wavesim.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wavesim", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())  # type: ignore[return-value]

    return run
