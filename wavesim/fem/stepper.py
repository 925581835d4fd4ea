"""Explicit steps in time for M p_tt = -K p, with M diagonal: order 2 (leapfrog) or 4 (modified equation).

With A = M^-1 K and time step h, the exact solution obeys p(t+h) - 2 p(t) + p(t-h) = -2 (1 - cos(h sqrt(A))) p(t). Its
series in h, cut after one term or two, is the scheme

    p+ - 2 p + p- = -B' p,     B' = B (order 2)   or   B - B^2 / 12 (order 4),     B = h^2 A,

stable while every eigenvalue of B stays below 4 (order 2) or 12 (order 4). It is kept in the increment form

    d = p+ - p,      step: p <- p + d,  d <- d - B' p,

which adds small numbers to small numbers and is therefore safe in single precision. At a whole step the centred
difference v = (p+ - p-) / 2h = (d + B' p / 2) / h has the series v = (1 - B/6 + ...) p_t, so that to the scheme's order

    p_t = v (order 2)   or   v + B v / 6 (order 4),     and at the start   v = p_t - B p_t / 6,   d = h v - B' p / 2.

The scheme conserves E_h = (v.Mv + p.MB'p/h^2)/2 - |B'p|_M^2 / 8h^2 to rounding; the energy of the field,
(p_t.Mp_t + p.Kp)/2, differs from it by O(h^order).

Reference: Shubin and Bell, SIAM J. Sci. Stat. Comput. 8 (1987) 135-151; Cohen, Higher-Order Numerical Methods for
Transient Wave Equations (2002), chapter 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from wavesim.errors import WavesimError

# Largest eigenvalue of B for which the scheme is stable.
LIMITS = {2: 4.0, 4: 12.0}


@dataclass(frozen=True)
class Operator:
    """Time steps in one medium. stepping: B = h^2 M^-1 K (nodes, nodes); mass: M (nodes,); steps: in one interval."""

    stepping: sparse.csr_matrix
    mass: np.ndarray
    time_step: float
    steps: int
    order: int


@dataclass(frozen=True)
class WaveState:
    """pressure: p (nodes,) or (nodes, batch); increment: p at the next step less p, alike; steps: taken so far."""

    pressure: np.ndarray
    increment: np.ndarray
    steps: int = 0


@dataclass(frozen=True)
class Frame:
    """What a state is at its time. pressure, pressure_rate: (nodes,) or (nodes, batch); energies: () or (batch,)."""

    pressure: np.ndarray
    pressure_rate: np.ndarray
    energy: np.ndarray
    discrete_energy: np.ndarray


def largest_time_step(stiffness: sparse.csr_matrix, mass: np.ndarray, order: int = 4) -> float:
    """The largest stable time step, with a margin of 5 % in the eigenvalue, which Lanczos finds from below."""
    root = sparse.diags(1 / np.sqrt(mass))
    symmetric = (root @ stiffness @ root).tocsr()
    # Any start that no eigenvector is orthogonal to; a fixed one makes the number of steps reproducible.
    start = np.random.default_rng(0).standard_normal(mass.size)
    largest = linalg.eigsh(symmetric, k=1, which="LA", tol=1e-2, v0=start, return_eigenvectors=False)[0]
    return float(np.sqrt(LIMITS[order] / (1.05 * largest)))


def operator(
    stiffness: sparse.csr_matrix,
    mass: np.ndarray,
    interval: float,
    steps: int | None = None,
    order: int = 4,
    dtype: type = np.float64,
) -> Operator:
    """The operator of K (nodes, nodes) and the diagonal M (nodes,) that reaches an interval of time in whole steps.

    Args:
        interval: from one frame to the next. steps: in an interval; left out, the fewest that are stable.
    Raises:
        WavesimError: the time step is above the stable limit.
    """
    limit = largest_time_step(stiffness, mass, order)
    fewest = math.ceil(interval / limit)
    steps = fewest if steps is None else steps
    if steps < fewest:
        raise WavesimError(
            f"time_step {interval / max(steps, 1):.4g} exceeds the stable limit {limit:.4g} of this mesh and medium at "
            f"order {order}; use at least {fewest} steps an interval of {interval:.4g}"
        )
    time_step = interval / steps
    stepping = (sparse.diags(time_step**2 / mass) @ stiffness).tocsr().astype(dtype)
    return Operator(stepping, mass.astype(dtype), time_step, steps, order)


def init(operator: Operator, pressure: np.ndarray, pressure_rate: np.ndarray | None = None) -> WaveState:
    """The state at time 0 with these p and p_t (zero if left out), (nodes,) or (nodes, batch)."""
    pressure = np.array(pressure, dtype=operator.mass.dtype)
    increment = -_force(operator, pressure) / 2
    if pressure_rate is not None:
        centred = np.asarray(pressure_rate, dtype=pressure.dtype)
        if operator.order == 4:
            centred = centred - operator.stepping @ centred / 6
        increment += operator.time_step * centred
    return WaveState(pressure, increment)


def step(operator: Operator, state: WaveState) -> WaveState:
    """The state one time step later."""
    pressure = state.pressure + state.increment
    increment = state.increment - _force(operator, pressure)
    return WaveState(pressure, increment, state.steps + 1)


def advance(operator: Operator, state: WaveState) -> WaveState:
    """The state one interval later."""
    for _ in range(operator.steps):
        state = step(operator, state)
    return state


def frame(operator: Operator, state: WaveState) -> Frame:
    """Pressure, rate and energies of a state at its own time, to the order of the scheme."""
    h, mass = operator.time_step, operator.mass if state.pressure.ndim == 1 else operator.mass[:, None]
    force = _force(operator, state.pressure)
    centred = (state.increment + force / 2) / h
    product = operator.stepping @ state.pressure
    rate = centred + operator.stepping @ centred / 6 if operator.order == 4 else centred

    def energy(v: np.ndarray, potential: np.ndarray) -> np.ndarray:
        return np.asarray(np.sum(mass * (v * v + state.pressure * potential / h**2), axis=0, dtype=np.float64) / 2)

    kick = np.sum(mass * force**2, axis=0, dtype=np.float64) / (8 * h**2)
    return Frame(state.pressure, rate, energy(rate, product), energy(centred, force) - kick)


def _force(operator: Operator, pressure: np.ndarray) -> np.ndarray:
    """B' p."""
    force = operator.stepping @ pressure
    if operator.order == 4:
        correction = operator.stepping @ force
        correction *= 1 / 12
        force -= correction
    return force
