"""Against an independent solver: deepwave's finite differences (https://github.com/ar4/deepwave), uniform density."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from wavesim.fem import Medium, Nodes, Pulse, Sides, assemble, stepper

deepwave = pytest.importorskip("deepwave", reason="the extra `bench` is not installed")
torch = pytest.importorskip("torch")

PULSE = Pulse((0.45, 0.4), 0.06)
TIME = 0.7
COARSE = np.arange(1, 60) / 60


def bulk_modulus(x, y):
    return 1 + 0.6 * np.sin(7 * x + 1) * np.cos(5 * y)


def by_deepwave(intervals, steps):
    """p (y, x) on the coarse grid at TIME; the free surface lies one node outside of deepwave's own grid."""
    line = np.arange(1, intervals) / intervals
    x, y, h, dt = line[:, None], line[None], 1 / intervals, TIME / steps
    r2 = ((x - PULSE.center[0]) ** 2 + (y - PULSE.center[1]) ** 2) / PULSE.width**2
    p, kappa = PULSE(x, y), bulk_modulus(x, y)
    before = p + dt**2 / 2 * kappa * (r2 - 2) / PULSE.width**2 * p  # at rest, p(-dt) = p + dt^2 kappa lap p / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = deepwave.scalar(
            torch.tensor(np.sqrt(kappa)), h, dt, nt=steps, accuracy=8, boundary="free", pml_width=0, pml_freq=10.0,
            wavefield_0=torch.tensor(p)[None], wavefield_m1=torch.tensor(before)[None], origin=[0, 0], max_vel=1.3,
        )[0][0].numpy()  # fmt: skip
    every = intervals // 60
    return found[every - 1 :: every, every - 1 :: every].T


def by_elements(elements):
    medium = Medium(bulk_modulus, lambda x, y: np.ones(np.broadcast_shapes(x.shape, y.shape)))
    problem = assemble(medium, Nodes((elements, elements), 6), TIME, (4, 4), Sides.all("soft"))
    end = stepper.advance(problem.operator, stepper.init(problem.operator, problem.at_unknowns(PULSE)))
    x, y = np.meshgrid(COARSE, COARSE)
    return (problem.at(np.column_stack([x.ravel(), y.ravel()])) @ end.pressure).reshape(x.shape)


def test_elements_agree_with_deepwave_within_the_estimated_errors_of_the_two():
    # Halved steps of the second order leave a third of the change; finer elements, less than the change.
    theirs = [by_deepwave(120, 320), by_deepwave(240, 640)]
    mine = [by_elements(16), by_elements(20)]
    size = np.linalg.norm(mine[1])
    their_error = np.linalg.norm(theirs[1] - theirs[0]) / 3 / size
    my_error = np.linalg.norm(mine[1] - mine[0]) / size
    assert my_error < 1e-4 and their_error < 3e-3
    assert np.linalg.norm(mine[1] - theirs[1]) / size < my_error + their_error
    # and what is compared is the wave, not its remains: it has moved far from where it started
    assert np.linalg.norm(mine[1] - PULSE(*np.meshgrid(COARSE, COARSE))) > 0.5 * size
