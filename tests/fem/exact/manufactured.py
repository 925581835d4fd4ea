"""Smooth media and the source s that makes a chosen p exact.

    s = (1/kappa) p_tt - div((1/rho) grad p),      by sympy, with s_t and s_tt

Anything with symbols X, Y, T goes: `manufactured` turns the three expressions kappa, rho, p into functions; `example`
chooses them so that p satisfies the given sides and nothing is symmetric. kappa and rho are periodic in it.
Reference: Roache, Code verification by the method of manufactured solutions, J. Fluids Eng. 124 (2002).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy

from .images import Sides
from .matter import Fields, spread
from .modes import PERIODIC, RIGID, half_waves

X, Y, T = sympy.symbols("x y t", real=True)
Function = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Manufactured:
    """Functions of (x, y) or (x, y, t), which broadcast; float64."""

    bulk_modulus: Function
    density: Function
    pressure: Function
    rate: Function
    source: Function
    source_t: Function
    source_tt: Function

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t)."""
        x, y, t = spread(x, y, t)
        return self.pressure(x, y, t), self.rate(x, y, t)


def manufactured(bulk_modulus: sympy.Expr, density: sympy.Expr, pressure: sympy.Expr) -> Manufactured:
    """From expressions in X, Y (and T in the pressure)."""
    kappa, rho, p = (sympy.sympify(one) for one in (bulk_modulus, density, pressure))
    flux = [sympy.diff(sympy.diff(p, axis) / rho, axis) for axis in (X, Y)]
    s = sympy.diff(p, T, 2) / kappa - flux[0] - flux[1]
    timed = (p, sympy.diff(p, T), s, sympy.diff(s, T), sympy.diff(s, T, 2))
    return Manufactured(
        *(_function((X, Y), one) for one in (kappa, rho)), *(_function((X, Y, T), one) for one in timed)
    )


def example(
    x_sides: Sides = RIGID, y_sides: Sides = RIGID, lengths: tuple[float, float] = (1.0, 1.0), waves: float = 1.0
) -> Manufactured:
    """One that fits the sides: two shapes with different times; `waves` multiplies all wavenumbers (an odd integer).

    Raises:
        WavesimError: sides that have no modes.
    """
    lx, ly = (sympy.nsimplify(one) for one in lengths)
    u, v = 2 * sympy.pi * X / lx, 2 * sympy.pi * Y / ly
    kappa = 1 + sympy.Rational(2, 5) * sympy.sin(u + 0.3) * sympy.cos(v - 0.5)
    rho = 1 + sympy.Rational(3, 10) * sympy.cos(u - 0.8) + sympy.Rational(1, 5) * sympy.sin(v + 1.1)

    def shape(numbers: tuple[int, int]) -> sympy.Expr:
        both = [(X / lx, x_sides, numbers[0]), (Y / ly, y_sides, numbers[1])]
        return sympy.prod([_shape(place, sides, number, waves) for place, sides, number in both])

    p = shape((1, 2)) * sympy.cos(4 * T + 0.4) + shape((2, 1)) * sympy.exp(-T / 2) * sympy.sin(7 * T - 0.2) / 2
    return manufactured(kappa, rho, p)


def _shape(place: sympy.Expr, sides: Sides, number: int, waves: float) -> sympy.Expr:
    half, sine = half_waves(sides, number)
    angle = sympy.nsimplify(half * waves) * sympy.pi * place
    return sympy.sin(angle) if sine else sympy.cos(angle + (0.7 * number if sides == PERIODIC else 0))


def _function(symbols: tuple[sympy.Symbol, ...], expression: sympy.Expr) -> Function:
    """A vectorised function; a constant too has the broadcast shape."""
    bare = sympy.lambdify(symbols, expression, "numpy", cse=True)

    def function(*places: np.ndarray) -> np.ndarray:
        shape = np.broadcast_shapes(*(np.shape(one) for one in places))
        return np.array(np.broadcast_to(np.asarray(bare(*places), float), shape))

    return function
