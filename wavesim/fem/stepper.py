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

What sources add to a step is in drive.py; an absorbing layer changes the increment as absorbing.py says.

Reference: Shubin and Bell, SIAM J. Sci. Stat. Comput. 8 (1987) 135-151; Cohen, Higher-Order Numerical Methods for
Transient Wave Equations (2002), chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from wavesim.errors import WavesimError
from wavesim.fem import kernel
from wavesim.fem.absorbing import Layer
from wavesim.fem.cells import Cells
from wavesim.fem.drive import Drive, Force
from wavesim.fem.drive import drive as in_steps
from wavesim.fem.march import Motion, along, forced

# Largest eigenvalue of B for which the scheme is stable.
LIMITS = {2: 4.0, 4: 12.0}
CORRECTED = 200  # steps after which means are put right: in each frame of a dataset it would cost a quarter of its time


@dataclass(frozen=True)
class Operator:
    """Time steps in one medium, or in a batch of media that share K.

    stepping: B = h^2 M^-1 K (unknowns, unknowns), or h^2 K where scale = 1/M (unknowns, batch) multiplies its product.
    mass: M (unknowns,) or (unknowns, batch). steps: in one interval. dtype: of the fields. device: of torch, or none.
    cells: K element by element, or none.
    """

    stepping: sparse.csr_matrix
    mass: np.ndarray
    time_step: float
    steps: int
    order: int
    scale: np.ndarray | None = None
    layer: Layer | None = None
    drive: Drive | None = None
    dtype: type = np.float64
    device: str | None = None
    cells: Cells | None = None

    @cached_property
    def loops(self) -> kernel.Loops:
        """The product with B, and whole steps."""
        return kernel.build(
            self.stepping,
            self.scale,
            self.mass,
            self.time_step,
            self.dtype,
            self.cells,
            self.device,
            self.layer,
            self.drive,
        )

    @cached_property
    def conserves_mean(self) -> bool:
        """Whether the mean needs care: nothing but rounding changes it."""
        free = self.layer is None and self.drive is None and self.dtype == np.float32
        return free and bool(np.abs(self.stepping.sum(axis=1)).max() < 1e-10 * np.abs(self.stepping.data).max())

    def mean(self, field: np.ndarray) -> np.ndarray:
        """Of a field (unknowns[, batch]), () or (batch,), weighted by the mass."""
        if self.mass.ndim == 1:
            return np.asarray(self._shares @ field)
        return np.asarray(np.einsum("nb,nb->b", self._shares, field))

    @cached_property
    def _shares(self) -> np.ndarray:
        """Of the mass, alike."""
        return np.asarray(self.mass / self.mass.sum(axis=0))


@dataclass(frozen=True)
class WaveState:
    """pressure: p (unknowns,) or (unknowns, batch); increment: p at the next step less p, alike; steps: taken so far.

    before, later: the absorbing layer's f half a step before, and after. means: of p and d in double precision, where
    nothing changes that of d: in single precision rounding pushes them.
    """

    pressure: np.ndarray
    increment: np.ndarray
    steps: int = 0
    before: np.ndarray | float = 0.0
    later: np.ndarray | float = 0.0
    means: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Frame:
    """What a state is at its time. pressure, pressure_rate: (unknowns[, batch]); energies: () or (batch,)."""

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


def stable_steps(interval: float, limit: float, steps: int | None, order: int) -> int:
    """The steps of an interval: the fewest that are stable, or those asked for.

    Raises:
        WavesimError: the time step is above the limit.
    """
    fewest = math.ceil(interval / limit)
    steps = fewest if steps is None else steps
    if steps < fewest:
        raise WavesimError(
            f"time_step {interval / max(steps, 1):.4g} exceeds the stable limit {limit:.4g} of this mesh and medium at "
            f"order {order}; use at least {fewest} steps an interval of {interval:.4g}"
        )
    return steps


def operator(
    stiffness: sparse.csr_matrix,
    mass: np.ndarray,
    interval: float,
    steps: int | None = None,
    order: int = 4,
    dtype: type = np.float64,
    force: Force | None = None,
    layer: Callable[[float], Layer] | None = None,
    device: str | None = None,
    cells: Cells | None = None,
) -> Operator:
    """The operator of K and the diagonal M (unknowns[, batch]) that reaches an interval of time in whole steps.

    Args:
        interval: from one frame to the next. steps: in an interval; left out, the fewest that are stable.
        force: sources. layer: the absorbing layer for a time step. device: of torch ("cuda", "cpu") that steps;
            left out, the loops of kernel.py. cells: K element by element, which is faster in single precision.
    Raises:
        WavesimError: the time step is above the stable limit; a batch of media with sources.
    """
    if mass.ndim == 2 and force is not None:
        raise WavesimError("a batch of media has no sources; run its simulations one by one")
    # Less mass, higher frequencies: the least of a batch bounds all of it.
    limit = largest_time_step(stiffness, mass if mass.ndim == 1 else mass.min(axis=1), order)
    steps = stable_steps(interval, limit, steps, order)
    h = interval / steps
    scale = None if mass.ndim == 1 else 1 / mass
    stepping = (h**2 * stiffness if mass.ndim == 2 else sparse.diags(h**2 / mass) @ stiffness).tocsr()
    return Operator(
        stepping,
        mass,
        h,
        steps,
        order,
        scale,
        layer=None if layer is None else layer(h),
        drive=None if force is None else in_steps(force, lambda field: stepping @ field, h, order, dtype),
        dtype=dtype,
        device=device,
        cells=cells,
    )


def init(operator: Operator, pressure: np.ndarray, pressure_rate: np.ndarray | None = None) -> WaveState:
    """The state at time 0 with these p and p_t (zero if left out), (unknowns,) or (unknowns, batch)."""
    means = None
    if operator.conserves_mean:
        rate = (
            np.zeros_like(pressure) if pressure_rate is None else operator.time_step * np.asarray(pressure_rate, float)
        )
        means = operator.mean(np.asarray(pressure, float)), operator.mean(rate)
    pressure = np.array(pressure, dtype=operator.dtype)
    layer = operator.layer
    centred = np.zeros_like(pressure)  # h (p_t + h^2 p_ttt / 6)
    if pressure_rate is not None:
        centred += operator.time_step * np.asarray(pressure_rate, dtype=pressure.dtype)
        if operator.order == 4:
            centred -= operator.loops.product(centred) / 6
    if operator.drive is not None:
        centred += operator.drive.lead(0)
    if layer is None:
        return WaveState(pressure, centred - _force(operator, WaveState(pressure, centred)) / 2, means=means)
    slopes = layer.derivative @ pressure
    later = along(layer.gain / (1 + layer.decay), slopes) * slopes
    half = _force(operator, WaveState(pressure, centred, 0, -later, later)) / 2
    keep, kick = along(layer.keep, pressure), along(layer.kick, pressure)
    return WaveState(pressure, 2 * (keep * centred - kick * half) / (1 + keep), 0, -later, later)


def step(operator: Operator, state: WaveState) -> WaveState:
    """The state one time step later."""
    return _advanced(operator, state, 1)


def advance(operator: Operator, state: WaveState) -> WaveState:
    """The state one interval later."""
    if operator.drive is None or operator.device is not None:
        after = _advanced(operator, state, operator.steps)
        return corrected(operator, after) if after.steps // CORRECTED > state.steps // CORRECTED else after
    for _ in range(operator.steps):
        state = step(operator, state)
    return state


def corrected(operator: Operator, state: WaveState) -> WaveState:
    """With the means that rigid and periodic walls conserve, in single precision."""
    if state.means is None:
        return state
    pressure, increment = (
        field + (mean - operator.mean(field)).astype(field.dtype)
        for field, mean in zip((state.pressure, state.increment), state.means, strict=True)
    )
    return replace(state, pressure=pressure, increment=increment)


def superposed(state: WaveState, other: WaveState) -> WaveState:
    """The sum of two waves, at the time of the first; no sources may drive both."""
    sums = (a + b for a, b in zip(_motion(state).parts, _motion(other).parts, strict=True))
    pressure, increment, before, later = sums
    means = None
    if state.means is not None and other.means is not None:
        means = state.means[0] + other.means[0], state.means[1] + other.means[1]
    return WaveState(pressure, increment, state.steps, before, later, means)


def frame(operator: Operator, state: WaveState) -> Frame:
    """Pressure, rate and energies of a state at its own time, to the order of the scheme; inside a layer, roughly.

    The discrete energy is conserved where there are neither sources nor an absorbing layer.
    """
    h, mass = operator.time_step, along(operator.mass, state.pressure)
    product = operator.loops.product(state.pressure)
    force = _force(operator, state, product)
    centred = (state.increment + force / 2) / h
    rate = centred + operator.loops.product(centred) / 6 if operator.order == 4 else centred
    if operator.drive is not None:
        rate = rate - operator.drive.lead(state.steps) / h

    def energy(v: np.ndarray, potential: np.ndarray) -> np.ndarray:
        return np.asarray(np.sum(mass * (v * v + state.pressure * potential / h**2), axis=0, dtype=np.float64) / 2)

    kick = np.sum(mass * force**2, axis=0, dtype=np.float64) / (8 * h**2)
    return Frame(state.pressure, rate, energy(rate, product), energy(centred, force) - kick)


def _force(operator: Operator, state: WaveState, product: np.ndarray | None = None) -> np.ndarray:
    """F: B' p, less what the sources add, and with the layer's f. product: B p, where it is known."""
    force = forced(operator.loops.product, _motion(state), operator.order, operator.layer, product)
    return force if operator.drive is None else force - operator.drive.increment(state.steps)


def _advanced(operator: Operator, state: WaveState, steps: int) -> WaveState:
    """So many steps later; with sources and without a device, one."""
    motion, loops, after, means = _motion(state), operator.loops, state.steps + steps, state.means
    if means is not None:
        means = means[0] + steps * means[1], means[1]
    if isinstance(loops, kernel.OnDevice):
        motion = loops.march(motion, steps, operator.order, state.steps)
        return WaveState(motion.pressure, motion.increment, after, motion.before, motion.later, means)
    if operator.layer is None:
        moved = loops.advance(motion.pressure, motion.increment, steps, operator.order)
        motion = Motion(*moved, state.before, state.later)
    else:
        motion = loops.absorbed(motion, steps, operator.order)
    increment = motion.increment
    if operator.drive is not None:
        added = operator.drive.increment(after)
        increment = increment + (added if operator.layer is None else along(operator.layer.kick, added) * added)
    return WaveState(motion.pressure, increment, after, motion.before, motion.later, means)


def _motion(state: WaveState) -> Motion:
    return Motion(state.pressure, state.increment, state.before, state.later)
