"""Stand-ins for the tests of the views: a toy wave, a truth that takes pulses, a forecaster, a packings file.

The toy wave is a plain finite-difference leapfrog of (1/kappa) p_tt = div((1/rho) grad p) between rigid walls. It is
no measure of anything; it only moves like a wave, so that the views have something to show.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

GRID, INTERVAL = 64, 1 / 32


def disks_medium(grid: int = GRID, seed: int = 3, radius: float = 0.085) -> np.ndarray:
    """(2, y, x): kappa 20, rho 5 inside a dozen and more disks that do not touch, cell means over 6 x 6 points."""
    rng = np.random.default_rng(seed)
    centres: list[np.ndarray] = []
    for _ in range(4000):
        candidate = rng.uniform(0, 1, 2)
        if all(np.hypot(*(candidate - other)) > 2.1 * radius for other in centres):
            centres.append(candidate)
    axis = (np.arange(6 * grid) + 0.5) / (6 * grid)
    x, y = np.meshgrid(axis, axis)
    inside = np.zeros_like(x, bool)
    for cx, cy in centres:
        inside |= np.hypot(x - cx, y - cy) < radius
    share = inside.reshape(grid, 6, grid, 6).mean((1, 3))
    return np.stack([1 / (1 - share + share / 20), 1 + 4 * share]).astype(np.float32)


def pulse(grid: int, x: float, y: float, width: float = 0.05, amplitude: float = 1.0) -> np.ndarray:
    """(y, x) Gaussian at the cell centres."""
    centre = (np.arange(grid) + 0.5) / grid
    gaussian = np.exp(-((centre[None, :] - x) ** 2 + (centre[:, None] - y) ** 2) / (2 * width**2))
    return (amplitude * gaussian).astype(np.float32)


def step_wave(state: np.ndarray, medium: np.ndarray, substeps: int = 10) -> np.ndarray:
    """One frame of the toy wave; state (2, y, x) of (p, dt p_t)."""
    p, v = state[0].astype(float), state[1].astype(float) / INTERVAL
    kappa, rho = medium.astype(float)
    h, dt = 1 / p.shape[0], INTERVAL / substeps
    across, along = 2 / (rho[:, 1:] + rho[:, :-1]), 2 / (rho[1:] + rho[:-1])
    for _ in range(substeps):
        divergence = np.zeros_like(p)
        flux = across * np.diff(p, axis=1)
        divergence[:, :-1] += flux
        divergence[:, 1:] -= flux
        flux = along * np.diff(p, axis=0)
        divergence[:-1] += flux
        divergence[1:] -= flux
        v += dt * kappa * divergence / h**2
        p += dt * v
    return np.stack([p, v * INTERVAL]).astype(np.float32)


def trajectory(medium: np.ndarray, frames: int, x: float = 0.3, y: float = 0.35) -> np.ndarray:
    """(time, 2, y, x) of the toy wave from a pulse at (x, y)."""
    grid = medium.shape[-1]
    states = [np.stack([pulse(grid, x, y), np.zeros((grid, grid), np.float32)])]
    for _ in range(frames - 1):
        states.append(step_wave(states[-1], medium))
    return np.stack(states)


class ToyTruth:
    """A truth that takes pulses, in place of the FE solver."""

    label, engine = "toy solver", "leapfrog"
    takes_pulses = True

    def __init__(self, packings: int = 2, grid: int = GRID):
        self.names = tuple(f"toy_{i:02d}" for i in range(packings))
        self.frame_interval = INTERVAL
        self.milliseconds = 0.0
        self.closed = False
        self._media = [disks_medium(grid, seed=i) for i in range(packings)]
        self._grid = grid

    def start(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self._medium = self._media[index]
        self._state = np.stack([pulse(self._grid, 0.3, 0.35), np.zeros((self._grid,) * 2, np.float32)])
        return self._state, self._medium

    def step(self) -> np.ndarray:
        self._state = step_wave(self._state, self._medium)
        self.milliseconds = 1.0
        return self._state

    def add_pulse(self, x: float, y: float, width: float, amplitude: float) -> np.ndarray:
        self._state = self._state.copy()
        self._state[0] += pulse(self._grid, x, y, width, amplitude)
        return self._state

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class ToyState:
    state: np.ndarray
    medium: np.ndarray


@dataclass(frozen=True)
class ToyForecaster:
    """The toy wave in a slightly heavier medium, so that the error grows."""

    excess: float = 0.1
    engine = "leapfrog"

    def init(self, state: np.ndarray, medium: np.ndarray) -> ToyState:
        return ToyState(state, medium * np.array([1.0, 1.0 + self.excess], np.float32)[:, None, None])

    def step(self, s: ToyState) -> ToyState:
        return replace(s, state=step_wave(s.state, s.medium))


def toy_models() -> dict[str, ToyForecaster]:
    return {"classical": ToyForecaster(0.05), "compressed": ToyForecaster(0.1), "pruned": ToyForecaster(0.2)}


def write_packings(path: Path) -> Path:
    """Two packings of the documented layout: a lattice with one rattler, and a relaxed one of two species."""
    with h5py.File(path, "w") as file:
        columns, rows, diameter = 6, 6, 1.0
        height = np.sqrt(3) / 2
        positions = np.array([[(i + 0.5 * (j % 2)) % columns, j * height] for j in range(rows) for i in range(columns)])
        radii = np.full(len(positions), 0.505 * diameter)
        radii[14] = 0.3  # loses all its contacts: a rattler
        _write_packing(file, "000000", positions, radii, np.array([columns, rows * height]), 1.0)
        radii = np.where(np.arange(60) % 2 == 0, 0.5, 0.5 / 1.4)
        box = np.full(2, np.sqrt(np.pi * (radii**2).sum() / 0.87))
        _write_packing(file, "000001", _relaxed(radii, box), radii, box, 1 / 1.4)
        file.create_group("000002").attrs["dim"] = 2  # cut short: no attribute `complete`
    return path


def write_square_packings(path: Path) -> Path:
    """Three square packings of one disk each: a training, a validation and a test packing."""
    with h5py.File(path, "w") as file:
        for i in range(3):
            _write_packing(file, f"{i:06d}", np.array([[0.5, 0.3 * i]]), np.array([0.5]), np.array([2.0, 2.0]), 1.0)
    return path


def _relaxed(radii: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(N, 2) positions of soft disks after steepest descent of their overlap energy from random places."""
    positions = np.random.default_rng(1).uniform(0, 1, (len(radii), 2)) * box
    for _ in range(1500):
        separation = positions[:, None] - positions[None]
        separation -= box * np.round(separation / box)
        distance = np.linalg.norm(separation, axis=-1) + np.eye(len(radii))
        overlap = np.clip(radii[:, None] + radii[None] - distance, 0, None) * (1 - np.eye(len(radii)))
        positions += 0.3 * np.sum((overlap / distance)[..., None] * separation, axis=1)
    return positions


def _write_packing(
    file: h5py.File, name: str, positions: np.ndarray, radii: np.ndarray, box: np.ndarray, ratio: float
) -> None:
    separation = positions[:, None] - positions[None]
    separation -= box * np.round(separation / box)
    overlap = radii[:, None] + radii[None] - np.linalg.norm(separation, axis=-1)
    pairs = np.argwhere(np.triu(overlap > 0, 1))
    group = file.create_group(name)
    group["positions"], group["radii"], group["box"] = positions % box, radii, box
    group["species"] = (radii > 0.45).astype(int)
    group["contacts/pairs"], group["contacts/overlap"] = pairs, overlap[tuple(pairs.T)]
    group["contacts/kind"] = np.array(["LL"] * len(pairs), dtype=h5py.string_dtype())
    group.attrs.update(dim=2, size_ratio=ratio, phi_j=0.842, coordination=2 * len(pairs) / len(radii), complete=True)


if __name__ == "__main__":  # the window of the tests, in a process of its own: viz_stubs.py SECONDS
    from wavesim.viz.session import Session
    from wavesim.viz.window import run_window

    class SpeakingSession(Session):
        """Says what it is told to do, so that a test need not guess from the screen when it has been heard."""

        def toggle_pause(self) -> None:
            super().toggle_pause()
            print(self.state, flush=True)

        def drop_pulse(self, x: float, y: float) -> None:
            super().drop_pulse(x, y)
            print(f"pulse {x:.3f} {y:.3f}", flush=True)

    with SpeakingSession(ToyTruth(), toy_models()) as toy:
        run_window(toy, seconds=float(sys.argv[1]))
