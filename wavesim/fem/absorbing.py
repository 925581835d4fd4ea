"""A perfectly matched layer: waves that enter it fade, and none comes back.

Beyond an absorbing side the coordinate is stretched, d/dx -> (1 / s_x) d/dx with s_x = 1 + z_x / (i omega). Multiplied
by s_x s_y the wave equation becomes, in time,

    (1/kappa) (p_tt + (z_x + z_y) p_t + z_x z_y p) = div( (1/rho) (grad p + f) ),
    f_x,t = -z_x f_x + (z_y - z_x) p_x,      f_y,t = -z_y f_y + (z_x - z_y) p_y,

with f = 0 outside the layer. At depth d of a layer of width L,  z = 3 c ln(1/R) (d/L)^2 / (2 L): a wave that meets the
layer at an angle, crosses it, is reflected by the wall behind and crosses it again, keeps R^cos(angle) of itself.

f lives at the points of the layer's elements, half a step off the pressure. In one step, with a = h z / 2,

    f+ = ((1 - a_x) f- + 2 (a_y - a_x) p_x) / (1 + a_x),                used at the step as f = (f+ + f-) / 2,
    F  = C (B p + (h^2/M) sum_a D_a^T w (1/rho) f_a) + 4 a_x a_y p,     C = 1 (order 2) or 1 - B/12 (order 4),
    d+ = ((1 - a_x) (1 - a_y) d - F) / ((1 + a_x) (1 + a_y)),

of second order in the layer, while the scheme outside keeps its own. Two things keep it stable up to the limit of the
step. z_x z_y p is averaged as (p+ + 2 p + p-) / 4, hence the products: for waves along one axis of a layer of constant
z, the scheme then factors as the equation does, into ((q - 1)^2 + b q) and a decaying factor, stable for b < 4 whatever
a is. And f goes through C with the rest: added after it, it grew near the limit of order 4, where C B p falls to zero.

Where 1/rho is a tensor it is diagonal in the layer, and f_a takes its entry aa (raster.py); what domain and medium are
there says margins.py.

Reference: Grote and Sim, Efficient PML for the wave equation, arXiv 1001.0319 (2010), equations (14) to (16).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from wavesim.errors import WavesimError
from wavesim.fem.boundary import first_nodes, numbers
from wavesim.fem.cells import side_by_side
from wavesim.fem.extent import Extent
from wavesim.fem.space import Space

# What comes back from a layer of one wavelength, degree 4, at 0, 30, 60 and 75 degrees: with 3 elements a wavelength
# 5e-4, 3e-4, 1e-3, 3e-2; with 4 elements 7e-5, 3e-5, 1e-3, 3e-2; with 2 elements, 1e-2 at 0 degrees. R = 1e-5 gives
# 3e-3 at 60 degrees; a cubic profile is no better (tests/fem/test_absorbing.py).
REFLECTION = 1e-6


@dataclass(frozen=True)
class Layer:
    """The layer's part of a step, for n unknowns and m points of its elements, times the time step where it enters.

    keep, kick: (n[, batch]) factors of the increment: d+ = keep d - kick F. pull: alike, 4 a_x a_y. scale: alike, 1/M.
    derivative: D (2 m, n), p_x and p_y at the layer's points. weight: (2 m,), h^2 w / 2 rho, and push: (n, 2 m), D^T
    weight, from f+ + f- to M F. decay, gain: (2 m[, batch]), f+ = decay f- + gain (p_x, p_y). unknown: (elements,
    points), -1 where there is none; size: (elements, 2) of each element, a rectangle, along x and y.

    The rows of `derivative` go by groups of elements, as many as a vector has lanes, filled up with empty ones; then by
    point, then x and y, then the element in its group: so kernel.c reads them.
    """

    keep: np.ndarray
    kick: np.ndarray
    pull: np.ndarray
    scale: np.ndarray
    derivative: sparse.csr_matrix
    push: sparse.csr_matrix
    decay: np.ndarray
    gain: np.ndarray
    weight: np.ndarray
    unknown: np.ndarray
    size: np.ndarray


def damping(extent: Extent, points: np.ndarray, wave_speed: float, reflection: float = REFLECTION) -> np.ndarray:
    """(2, points) z_x and z_y at points (points, 2), by their depths in the margins.

    Args:
        wave_speed: the largest in the layer. reflection: R above.
    Raises:
        WavesimError: a reflection that is not between 0 and 1.
    """
    if not 0 < reflection < 1:
        raise WavesimError(f"reflection {reflection} of an absorbing layer must lie between 0 and 1, for example 1e-6")
    rates = np.zeros((2, len(points)))
    for k, (width, depth) in enumerate(zip(extent.margins, extent.depths(points), strict=True)):
        if width > 0:
            strength = 3 * wave_speed * np.log(1 / reflection) / (2 * width)
            rates[k // 2] += strength * (np.clip(depth, 0, None) / width) ** 2
    return rates


def inside(extent: Extent, space: Space) -> np.ndarray:
    """(elements, points) the element points of each element that lies in the layer."""
    middles = space.element_points[space.elements].mean(axis=1)
    return space.elements[extent.beyond(middles)]


def squared_speed(bulk_modulus: np.ndarray, density: np.ndarray, points: np.ndarray) -> np.ndarray:
    """([batch,]) the largest kappa / rho at some of the element points; arguments as `of_space`."""
    lightness = 1 / density if density.ndim == 1 else np.maximum(density[0, 0], density[1, 1])
    return np.asarray((bulk_modulus.T * lightness)[..., points.ravel()].max(axis=-1, initial=0.0))


def of_space(
    space: Space,
    prolongation: sparse.csr_matrix,
    mass: np.ndarray,
    bulk_modulus: np.ndarray,
    density: np.ndarray,
    dtype: type,
) -> Callable[[float], Layer] | None:
    """The layer for a time step, where a space has margins.

    Args:
        bulk_modulus, mass: of one medium or of a batch. density: (element points,), or the tensor 1/rho (2, 2, element
            points), which is diagonal in the layer.
    """
    if not any(space.extent.margins):
        return None
    elements = inside(space.extent, space)
    wave_speed = np.sqrt(squared_speed(bulk_modulus, density, elements))
    return partial(layer, space, space.extent, elements, prolongation, mass, density, wave_speed, dtype=dtype)


def layer(
    space: Space,
    extent: Extent,
    elements: np.ndarray,
    prolongation: sparse.csr_matrix,
    mass: np.ndarray,
    density: np.ndarray,
    wave_speed: float | np.ndarray,
    time_step: float,
    dtype: type = np.float64,
) -> Layer:
    """The layer in the margins of a rectangle.

    Args:
        elements: of the layer, as `inside`. prolongation: P (nodes, unknowns); mass: (unknowns[, batch]); density: as
            `of_space`; wave_speed: the largest in the layer, of each medium of a batch.
    """
    points = side_by_side(elements, -1, np.dtype(dtype))
    places = np.stack([points, points], axis=2)
    axis = np.broadcast_to(np.array([0, 1])[:, None], places.shape).ravel()
    places = places.ravel()

    # Any node of an unknown will do: z is the same at a node and at its periodic image.
    half = time_step / 2 * np.asarray(wave_speed)
    a_x, a_y = (
        np.multiply.outer(half, rates).T for rates in damping(extent, space.points[first_nodes(prolongation)], 1.0)
    )
    rates = damping(extent, space.element_points[places], 1.0)
    own, other = (np.multiply.outer(half, np.where(axis == k, *rates)).T for k in (0, 1))
    rows = np.where(places < 0, 2 * space.weights.size, places + axis * space.weights.size)
    slopes = sparse.vstack([*space.gradient, sparse.csr_matrix((1, space.size))]).tocsr()[rows] @ prolongation
    lightness = (1 / density)[places] if density.ndim == 1 else density[axis, axis, places]
    weight = np.where(places < 0, 0, time_step**2 / 2 * space.weights[places] * lightness)
    kick = 1 / ((1 + a_x) * (1 + a_y))
    nodes = space.node_of[elements]
    return Layer(
        keep=((1 - a_x) * (1 - a_y) * kick).astype(dtype),
        kick=kick.astype(dtype),
        pull=(4 * a_x * a_y).astype(dtype),
        scale=(1 / mass).astype(dtype),
        derivative=slopes.tocsr().astype(dtype),
        push=(slopes.T @ sparse.diags(weight)).tocsr().astype(dtype),
        decay=((1 - own) / (1 + own)).astype(dtype),
        gain=(2 * (other - own) / (1 + own)).astype(dtype),
        weight=weight.astype(dtype),
        unknown=numbers(prolongation)[nodes],
        size=np.ptp(space.points[nodes], axis=1),
    )
