"""Both jamming transitions of a mixture of small size ratio, on one way down from far above them.

Below a concentration X*_S the large spheres jam first (phi_J), with the small ones loose in their gaps; those join at a
higher packing fraction. Coming from below, a gas of small spheres that are about to jam is a landscape without slopes
in which FIRE finds no end. Coming from above it never arises: compressed until nearly all small ones carry, the packing
comes to equilibrium within some thousand steps, and each small expansion leads to the next equilibrium nearby. Only
next to the second transition, where hundreds of small ones come loose at once, a state may not balance in time: it is
passed and not kept.

    p' = p / reduction,   phi' = phi - (p - p') / (dp/dphi along the way), but no further than `fall`

Reference: Petit, Kumar, Luding, Sperl, arXiv:2103.02557.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from wavesim.granular._lammps import Engine, EngineState, Pace
from wavesim.granular.jamming import LOST, Compression, NotJammedError, Protocol, stable, strictly
from wavesim.granular.mixture import Mixture
from wavesim.granular.packing import SMALL, Packing, force_scale, packing_fraction

BELOW = 0.3  # size ratio under which mixtures are unloaded from above; stepwise compression serves those of 0.4 well
HALVINGS = 8  # of a step down that loses the load-bearing network
FARTHEST = 0.006  # p / K of the last state: where those at the pressure asked for do not balance, it is an earlier one


@dataclass(frozen=True)
class Unloading(Protocol):
    """Settings of the way up and down. The particles start dilute.

    pressure: of the last state, in k_n / d^(D-2). Compression keeps packings at a hundredth of it; there, mixtures in
        which the small ones carry do not come to equilibrium (2000 spheres of 0.22 at X_S = 0.25: from 4e-4 on).
    compression: of phi, on the way up, each followed by `hurried` steps of FIRE, balanced or not.
    joined: share of the small ones that carry a step below the top, under start_pressure at least.
    highest: pressure at the top where fewer do: the second transition, if any, is not reached. At 0.15 large spheres
        overlap by some 6 % of their diameter.
    reduction, fall: of the pressure and of phi at each step down. Compression's descents, by factors of 10 from 1e-3,
        did not balance from X_S = 0.2 on.
    heaviness: a large particle has this over delta^(D-1) masses of a small one. In one descent 0.3 took up to 2.5 times
        as many steps for a state, and FIRE's longest step of 4 in place of 10 two to four times as many.
    tolerance: three times stricter than what counts as equilibrium.
    steps: next to a transition they are needed: 1500 spheres of 0.22 at X_S = 0.2 and a pressure of 2e-3 had a largest
        net force of 0.2 of the load after 50,000, of 8e-4 after 100,000 and of 1e-8 after 150,000.
    """

    pressure: float = 1e-3
    start_phi: tuple[float, float] = (0.6, 0.4)
    start_pressure: float = 1e-2
    compression: float = 0.02
    hurried: int = 6_000
    joined: float = 0.9
    highest: float = 0.15
    reduction: float = 1.5
    fall: float = 0.004
    heaviness: float = 1.0
    tolerance: float = 3e-5

    name: ClassVar[str] = "compress far above jamming and unload"

    def pace(self, size_ratio: float, dim: int) -> Pace:
        neighbours = "multi" if size_ratio < BELOW else "bin"
        return Pace(max(1.0, self.heaviness / size_ratio ** (dim - 1)), neighbours=neighbours)

    def descend(self, engine: Engine, start: Packing) -> list[Packing]:
        return _Way(engine, start, self).run()


def usual(mixture: Mixture) -> Protocol:
    """The protocol where none is given: stepwise compression, or unloading from above for small size ratios."""
    both = 0 < mixture.small < mixture.particles
    return Unloading() if mixture.size_ratio < BELOW and both else Compression()


@dataclass(frozen=True)
class _Way:
    """The engine on its way up from the dilute `start`, and down again."""

    engine: Engine
    start: Packing
    protocol: Unloading

    def run(self) -> list[Packing]:
        protocol, state, slope = self.protocol, self._top(), 1.0
        passed = self._kept(state)
        while state.pressure > 1.5 * protocol.pressure:
            wanted = max(state.pressure / protocol.reduction, protocol.pressure)
            lower = self._lower(state, min((state.pressure - wanted) / slope, protocol.fall / self._phi(state)), wanted)
            if lower is None:
                break
            drop = self._phi(state) - self._phi(lower)
            slope = max(self._phi(lower) * (state.pressure - lower.pressure) / drop, 0.1)
            passed += self._kept(lower)
            state = lower
        lowest = min((packing.pressure for packing in passed), default=np.inf)
        unbalanced = NotJammedError(f"not in mechanical equilibrium at any pressure below {lowest:.1e}")
        if len(passed) < 2:
            raise unbalanced
        last = self._stable(passed[-1])
        assert last.bulk_modulus is not None
        if last.pressure > FARTHEST * last.bulk_modulus:
            raise unbalanced
        return [*passed[:-1], last]

    def _top(self) -> EngineState:
        """Compress until the small ones carry too, and a step beyond, or the pressure is the highest; come to rest."""
        protocol, dim = self.protocol, self.start.dim
        joined = False
        while True:
            state = self.engine.state()
            self.engine.relax(protocol.tolerance * self._load(max(state.pressure, protocol.pressure)), protocol.hurried)
            state = self.engine.state()
            if joined or state.pressure >= protocol.highest:
                return self._settled(0.0)
            enough = state.pressure >= protocol.start_pressure
            joined = enough and self._packing(state).carrying(SMALL) >= protocol.joined
            phi = self._phi(state) + protocol.compression
            if phi > 1:
                raise NotJammedError(f"pressure {state.pressure:.1e} close to packing fraction 1: it does not jam")
            self.engine.scale((1 - protocol.compression / phi) ** (1 / dim))

    def _lower(self, state: EngineState, step: float, wanted: float) -> EngineState | None:
        """Lower phi by the part `step` of itself, by less where that loses the network; None where all do."""
        for _ in range(HALVINGS):
            self.engine.scale((1 - step) ** (-1 / self.start.dim))
            lower = self._settled(LOST * wanted)
            if lower.pressure >= LOST * wanted:
                return lower
            self.engine.restore(state)
            step /= 2
        return None

    def _settled(self, lost: float) -> EngineState:
        """Relax until in equilibrium, until the pressure falls under `lost`, or as long as the protocol allows."""
        state = self.engine.state()
        for _ in range(self.protocol.steps // self.protocol.stretch):
            self.engine.relax(self.protocol.tolerance * self._load(max(state.pressure, lost)), self.protocol.stretch)
            state = self.engine.state()
            allowed = self.protocol.tolerance * self._load(state.pressure)
            if state.pressure < lost or state.largest_force <= allowed:
                break
        return state

    def _stable(self, packing: Packing) -> Packing:
        """With its bulk modulus; displaced and relaxed again where it is at a saddle point."""
        self.engine.restore(packing)
        state = self.engine.state()
        lost = LOST * state.pressure

        def settle() -> EngineState:
            protocol = self.protocol
            return strictly(self.engine, self._settled(lost), self.start, protocol.tolerance, protocol.steps)

        found = stable(self.engine, state, self.start, settle, lost)[1]
        if found is None:
            raise NotJammedError(f"at pressure {state.pressure:.1e} it was at a saddle point, and came apart beside it")
        return found

    def _kept(self, state: EngineState) -> list[Packing]:
        packing = self._packing(state)
        return [packing] if packing.balanced else []

    def _packing(self, state: EngineState) -> Packing:
        return replace(self.start, positions=state.positions, box=state.box)

    def _phi(self, state: EngineState) -> float:
        return packing_fraction(self.start.radii, state.box)

    def _load(self, pressure: float) -> float:
        return force_scale(pressure, self.start.radii, self.start.dim)
