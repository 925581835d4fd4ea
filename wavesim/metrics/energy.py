"""Errors and drift in the energy of the wave, on the grid of the forecast.

For (1/kappa) p_tt = div( (1/rho) grad p ), in units of the cell size h and the frame interval dt, with v = dt p_t and
C = dt / h:

    E = 1/2 sum over cells of v^2 / kappa + C^2 / 2 sum over faces of (p' - p)^2 / <rho>

<rho> is the mean of the two cells p and p' of a face. A rigid or an absorbing side has no faces, a periodic one faces
the opposite side; at a soft one the pressure is 0 half a cell further: 2 p^2 / rho. The energy norm of an error is that
of the wave's own energy, sqrt( E(f - p) / E(p) ). The truth's energy on the grid is not constant either: cell averages
miss a part of it, a changing one.

Reference: LeVeque, Finite Volume Methods for Hyperbolic Problems (2002), section 2.
"""

from __future__ import annotations

import numpy as np

from wavesim.metrics.sides import RIGID, Sides, along


def energy(state: np.ndarray, medium: np.ndarray, courant: float, sides: Sides = RIGID) -> np.ndarray:
    """E above, (...), of states (..., 2, y, x) of (p, dt p_t) in media (..., 2, y, x) of (kappa, rho)."""
    state, medium = np.asarray(state, float), np.asarray(medium, float)
    pressure, rate = state[..., 0, :, :], state[..., 1, :, :]
    kappa, rho = medium[..., 0, :, :], medium[..., 1, :, :]
    strain: np.ndarray | float = 0.0
    for axis, ends in zip((-2, -1), along(sides), strict=True):
        p, r = np.moveaxis(pressure, axis, -1), np.moveaxis(rho, axis, -1)
        strain = strain + _sum((p[..., 1:] - p[..., :-1]) ** 2 * 2 / (r[..., 1:] + r[..., :-1]))
        if ends[0] == "periodic":
            strain = strain + _sum((p[..., :1] - p[..., -1:]) ** 2 * 2 / (r[..., :1] + r[..., -1:]))
        for end, kind in zip((0, -1), ends, strict=True):
            if kind == "soft":
                strain = strain + 2 * np.sum(p[..., end] ** 2 / r[..., end], axis=-1)
    return (_sum(rate**2 / kappa) + courant**2 * strain) / 2


def _sum(values: np.ndarray) -> np.ndarray:
    return np.sum(values, axis=(-2, -1))


def energy_norm_error(
    forecast: np.ndarray, truth: np.ndarray, medium: np.ndarray, courant: float, sides: Sides = RIGID
) -> np.ndarray:
    """sqrt( E(forecast - truth) / E(truth) ), (...), of states (..., 2, y, x)."""
    error = np.asarray(forecast, float) - truth
    return np.sqrt(energy(error, medium, courant, sides) / energy(truth, medium, courant, sides))


def energy_drift(states: np.ndarray, medium: np.ndarray, courant: float, sides: Sides = RIGID) -> np.ndarray:
    """E(t) / E(0) - 1, (..., time), of states (..., time, 2, y, x), the initial one included; medium (..., 2, y, x)."""
    energies = energy(states, np.expand_dims(medium, -4), courant, sides)
    return energies / energies[..., :1] - 1
