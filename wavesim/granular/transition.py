"""Where a packing jams, and where its small particles join: by extrapolation, and between two states.

Near jamming p = K (phi - phi_J) / phi with a constant K, so that the straight line through the last two states passed
on the way down meets p = 0 at phi_J. The bracket knows neither K nor phi_J: a packing in equilibrium under load is
above phi_J, and one that relaxes until it carries nothing is below. From the packing phi is lowered by 2 p of itself,
p in k_n / d^(D-2), then by twice as much each time, until nothing is carried; the gap is halved until a state below the
packing is jammed and the gap is at most 0.3 of the way from the packing down to what carries nothing.

The second transition, phi_J2 > phi_J, is where the small particles in the gaps of a jammed network of large ones jam
too. It is found likewise on the way down: the part of the pressure that contacts with small particles carry, LS + SS,
extrapolated to zero from the last two states in which at least half of the small ones carry; and between the last
of these states and the next one.

References: O'Hern, Silbert, Liu, Nagel, Phys. Rev. E 68 (2003) 011306; Petit, Kumar, Luding, Sperl, arXiv:2103.02557.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wavesim.granular._lammps import Engine, EngineState
from wavesim.granular.jamming import NotJammedError, Protocol, relaxed
from wavesim.granular.packing import LARGE, SMALL, Packing

JOINED = 0.5  # share of the small ones that carry above the second transition; well above, it is 0.9 and more
FEW = 0.1  # and at the first one, where the network is one of large particles; at size ratio 0.4, 0.4 carry there
WIDEST = 0.01  # of phi, between two states whose slope is a modulus
STEP = 2.0  # of the bracket's first probe, as a part of phi and in units of the pressure
PART = 0.3  # of the way from the packing to the end of the bracket: what is left between its ends
PROBES = 14  # at most; without any that carries nothing, the last one some 30,000 p below
LOOSE = 0.01  # of the pressure: what carries less carries nothing; p / K at a hundredth of p is a hundredth of p / K


@dataclass(frozen=True)
class Bracket:
    """Packing fractions of the last jammed state, and of a state below it that carries nothing; how many were tried."""

    unjammed: float
    jammed: float
    probes: int

    @property
    def width(self) -> float:
        return self.jammed - self.unjammed

    def misses(self, phi: float) -> float:
        """How far outside a packing fraction is."""
        return max(self.unjammed - phi, phi - self.jammed, 0.0)


@dataclass(frozen=True)
class Second:
    """The second transition. phi: by the extrapolated pressure; jammed, unjammed: packing fractions of the last state
    in which the small ones carry and of the next one; width: of phi, over which the share that carries goes from a
    fifth to four fifths, None where the path does not reach so far; packing: the last state in which they carry."""

    phi: float
    jammed: float
    unjammed: float
    width: float | None
    packing: Packing


def second_transition(passed: Sequence[Packing]) -> Second | None:
    """Where the small particles come loose on the way down `passed`; None where they never do, or never carried.

    It takes a first transition without them (under a tenth carry in the last state), and two states with half of them.
    """
    share = np.array([packing.carrying(SMALL) for packing in passed])
    loose = np.flatnonzero(share < JOINED)
    if share[-1] > FEW or passed[-1].carrying(LARGE) < JOINED or len(loose) == 0 or loose[0] < 2:
        return None
    last = int(loose[0]) - 1
    phi = np.array([packing.phi for packing in passed])
    above, below = (packing.partial_pressures["LS"] + packing.partial_pressures["SS"]
                    for packing in passed[last - 1 : last + 1])  # fmt: skip
    crossing = phi[last] - below * (phi[last - 1] - phi[last]) / (above - below)
    return Second(float(crossing), float(phi[last]), float(phi[last + 1]), _width(phi, share), passed[last])


def modulus_on_the_way(path: Mapping[str, Sequence[float]], level: float, of: str = "pressure_small") -> float | None:
    """phi dp/dphi between the two states around a pressure; None where they are missing or far apart.

    How mixtures compare along the second line, by the pressure of LS and SS contacts: there K falls steeply with it,
    and states right at its end seldom come to equilibrium. Across X*_S they compare by the whole pressure.

    Args:
        path: as diagram.jsonl has it, from above. of: "pressure_small" or "pressure".
    """
    below = np.flatnonzero(np.array(path[of]) < level)
    if len(below) == 0 or below[0] == 0:
        return None
    ends = slice(int(below[0]) - 1, int(below[0]) + 1)
    phi, pressure = np.array(path["phi"][ends]), np.array(path["pressure"][ends])
    if phi[0] - phi[1] > WIDEST:
        return None
    return float(phi.mean() * np.diff(pressure)[0] / np.diff(phi)[0])


def _width(phi: np.ndarray, share: np.ndarray) -> float | None:
    """Between the outermost crossings of 0.2 and 0.8, by straight lines."""
    ends = []
    for level in (0.2, 0.8):
        k = int(np.flatnonzero(share >= level)[-1]) if (share >= level).any() else 0
        if not 0 <= k < len(phi) - 1 or share[k] < level:
            return None
        ends.append(phi[k + 1] + (level - share[k + 1]) * (phi[k] - phi[k + 1]) / (share[k] - share[k + 1]))
    return float(ends[1] - ends[0])


def extrapolated(packing: Packing) -> float:
    """phi_J from the last two states passed, by a straight line; the packing must have passed two."""
    (phi_above, phi_last), (p_above, p_last) = packing.path_phi[-2:], packing.path_pressure[-2:]
    return float(phi_last - p_last * (phi_above - phi_last) / (p_above - p_last))


def bracket(packing: Packing, protocol: Protocol | None = None) -> Bracket:
    """Expand a jammed packing until it carries nothing, and halve the gap between.

    It is wider than said above where a state next to phi_J came neither to equilibrium nor apart in time.
    Loads the engine: call it in a process of its own.

    Raises:
        NotJammedError: it carries load far below its phi_j.
    """
    protocol = protocol or Protocol()
    pace, lost = protocol.pace(packing.size_ratio, packing.dim), LOOSE * packing.pressure
    jammed: Packing | EngineState = packing
    above, below, step = packing.phi, 0.0, STEP * packing.pressure * packing.phi
    end = 0.0  # that the next state lies half-way to
    with Engine(packing.positions, packing.radii, packing.species, packing.box, pace) as engine:
        for probes in range(1, PROBES + 1):
            phi = (above + end) / 2 if end else above - step
            engine.restore(jammed)
            engine.scale((above / phi) ** (1 / packing.dim))
            try:
                state = relaxed(engine, packing.radii, protocol, lost)
            except NotJammedError:  # neither jammed nor loose in time, as happens next to phi_J
                if below and above < packing.phi:
                    return Bracket(below, above, probes)
                end, step = phi if below else 0.0, 2 * step
                continue
            if state.pressure < lost:
                below = phi
            else:
                jammed, above, step = state, phi, 2 * step
            end = below
            if below and above < packing.phi and above - below <= PART * (packing.phi - below):
                return Bracket(below, above, probes)
    if below:
        return Bracket(below, above, PROBES)
    raise NotJammedError(f"still under load at {phi:.5f}, below phi_J {packing.phi_j:.5f}")
