"""phi_J, where the pressure of a packing vanishes: by extrapolation, and between the last jammed state and one below.

Near jamming p = K (phi - phi_J) / phi with a constant K, so that the straight line through the last two states passed
on the way down meets p = 0 at phi_J. The bracket knows nothing of K: a packing in equilibrium under load is above
phi_J, and one that relaxes until it carries nothing is below.

Reference: O'Hern, Silbert, Liu, Nagel, Phys. Rev. E 68 (2003) 011306.
"""

from __future__ import annotations

from dataclasses import dataclass

from wavesim.granular._lammps import Engine
from wavesim.granular.jamming import LOST, NotJammedError, Protocol, relaxed
from wavesim.granular.packing import Packing, packing_fraction

DOUBLINGS = 6  # a packing that is still jammed after as many had another phi_J than its pressure and K say


@dataclass(frozen=True)
class Bracket:
    """Packing fractions of the last jammed state, and of a state below it that carries nothing."""

    unjammed: float
    jammed: float


def extrapolated(packing: Packing) -> float:
    """phi_J from the last two states passed, by a straight line; the packing must have passed two."""
    (phi_above, phi_last), (p_above, p_last) = packing.path_phi[-2:], packing.path_pressure[-2:]
    return float(phi_last - p_last * (phi_above - phi_last) / (p_above - p_last))


def bracket(packing: Packing, protocol: Protocol | None = None) -> Bracket:
    """Expand a jammed packing until it carries nothing: first as far below its phi_j as it is above, then twice that.

    Loads the engine: call it in a process of its own.

    Raises:
        NotJammedError: it neither comes to equilibrium nor apart, or carries load far below its phi_j.
    """
    protocol = protocol or Protocol()
    lost = LOST * packing.pressure
    pace = protocol.pace(packing.size_ratio, packing.dim)
    with Engine(packing.positions, packing.radii, packing.species, packing.box, pace) as engine:
        step = 2 * (1 - packing.phi_j / packing.phi)
        for _ in range(DOUBLINGS):
            engine.scale((1 - step) ** (-1 / packing.dim))
            state = relaxed(engine, packing.radii, protocol, lost)
            below = packing_fraction(packing.radii, state.box)
            if state.pressure < lost:
                return Bracket(unjammed=below, jammed=packing.phi)
            step *= 2
    raise NotJammedError(f"still under pressure {state.pressure:.1e} at {below:.5f}, below phi_J {packing.phi_j:.5f}")
