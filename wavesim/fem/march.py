"""The steps of stepper.py with an absorbing layer and sources, written once for numpy, torch and PETSc.

    p  <- p + d
    f+ <- decay f- + gain (D_x p, D_y p)                             absorbing.py: f lies half a step off
    F  <- C (B p + (h^2/M) D^T w (1/rho) (f+ + f-) / 2) + pull p     C = 1 (order 2) or 1 - B/12 (order 4)
    d  <- keep d - kick (F - what the sources add)

Arrays are whatever the product with B and the layer's matrices take; without a layer keep = kick = 1 and f = pull = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wavesim.fem.absorbing import Layer
from wavesim.fem.drive import Drive


@dataclass(frozen=True)
class Motion:
    """p and d = p+ - p, each (unknowns[, batch]); before, later: the layer's f half a step before p and after it."""

    pressure: Any
    increment: Any
    before: Any = 0.0
    later: Any = 0.0

    @property
    def parts(self) -> tuple[Any, Any, Any, Any]:
        """All four."""
        return self.pressure, self.increment, self.before, self.later


def advance(
    product: Callable[[Any], Any],
    motion: Motion,
    steps: int,
    order: int,
    layer: Layer | None = None,
    drive: Drive | None = None,
    taken: int = 0,
) -> Motion:
    """The motion after so many steps; `taken` have been before. product: B times a field, an array of its own."""
    p, d, before, later = motion.pressure + 0, motion.increment + 0, motion.before, motion.later  # copies
    for k in range(taken + 1, taken + steps + 1):
        p += d
        if layer is not None:
            slopes = layer.derivative @ p
            before, later = later, along(layer.decay, slopes) * later + along(layer.gain, slopes) * slopes
        force = forced(product, Motion(p, d, before, later), order, layer)
        if drive is not None:
            force -= drive.increment(k)
        if layer is not None:
            d *= along(layer.keep, d)
            force *= along(layer.kick, force)
        d -= force
    return Motion(p, d, before, later)


def forced(
    product: Callable[[Any], Any], motion: Motion, order: int, layer: Layer | None = None, first: Any = None
) -> Any:
    """F without sources; first: B p, where it is known."""
    force = product(motion.pressure) if first is None else first + 0
    if layer is not None:
        force += along(layer.scale, force) * (layer.push @ (motion.before + motion.later))
    if order == 4:
        correction = product(force)
        correction *= 1 / 12
        force -= correction
    if layer is not None:
        force += along(layer.pull, force) * motion.pressure
    return force


def along(values: Any, field: Any) -> Any:
    """Values (n[, batch]) shaped to multiply a field (n[, batch])."""
    return values if values.ndim == field.ndim else values[:, None]
