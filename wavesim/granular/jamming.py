"""A jammed packing: over-compress random particles, then let the box expand until the pressure all but vanishes.

Two ways up: a quench just above jamming (Protocol), or small steps of compression from a dilute state, relaxed after
each (Compression). One way down: with K = phi dp/dphi from the Hessian, the next packing fraction on the way to a
pressure p' is Newton's
    phi' = phi (1 - (p - p') / K)
p' being a fixed part of p. K falls as contacts open, so that a step mostly falls short, which is safe; a step that
loses the load-bearing network is taken back and halved; a saddle point is left (saddle.py). The last state, at small
p, gives phi_J = phi (1 - p / K).

Packing fractions count overlaps twice. Units: the large diameter is 1, k_n = 1, pressures in k_n / d^(D-2).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular._lammps import Engine, EngineState, Pace
from wavesim.granular.mixture import Mixture
from wavesim.granular.moduli import SaddleError, bulk_modulus
from wavesim.granular.packing import Packing, force_scale, packing_fraction
from wavesim.granular.saddle import out_of_saddles

# Times the tolerance beside a saddle point, where modes are soft: at 1e-5 K of two packings of disks was 7 and 14 % off
# its value by strain, at 1e-8 under 0.2 %. Where a few small particles buckle under weak forces, the ways down from the
# saddle point begin with forces under the usual tolerance, and a relaxation to that stays.
STRICTER = 1e-3
LOST = 0.05  # a pressure under this part of the wanted one says that the network came apart


class NotJammedError(Exception):
    """This attempt gave no packing in mechanical equilibrium; another random start may."""


@dataclass(frozen=True)
class Protocol:
    """Settings of quench and decompression.

    pressure: at which the packing is kept; a last step across it may end lower, down to a twentieth. At 1e-5 overlaps
        are some 1e-5 of a diameter and phi is 3e-5 above phi_J. Down to 1e-7, 1000 disks take up to five times as long.
    start_phi: packing fraction of the quench in two and in three dimensions, just above jamming. phi_J depends on it:
        with 1000 disks 1 : 1.4 it was 0.842 from 0.85, 0.844 from 0.86 and 0.845 from 0.88 (four seeds or more each,
        spread 0.001), and 0.842 is the published limit of large systems.
    start_pressure, compression: while the quench carries less than this pressure, phi grows by this much.
    reduction: factor by which a Newton step lowers the pressure.
    tolerance: largest net force on a particle over p d_S^(D-1) at which a relaxation ends.
    steps: of FIRE for each relaxation; stretch: of FIRE between two looks at the pressure.
    """

    pressure: float = 1e-5
    start_phi: tuple[float, float] = (0.85, 0.66)
    start_pressure: float = 1e-3
    compression: float = 0.01
    reduction: float = 10.0
    tolerance: float = 1e-6
    steps: int = 200_000
    stretch: int = 5_000

    name: ClassVar[str] = "quench and decompress"

    def pace(self, size_ratio: float, dim: int) -> Pace:
        """How FIRE goes."""
        return Pace()

    def descend(self, engine: Engine, start: Packing) -> list[Packing]:
        """The packings passed from the particles of `start`, in `engine`; the last one knows its bulk modulus.

        Raises:
            NotJammedError: see `jam`.
        """
        return _Descent(engine, start, self).run()

    def describe(self) -> str:
        """The protocol as one line of JSON."""
        return json.dumps({"name": self.name, **asdict(self)}, sort_keys=True)


@dataclass(frozen=True)
class Compression(Protocol):
    """Settings of stepwise compression and decompression: the same, but the particles start dilute.

    start_phi: of the dilute start. compression: a step, which leads over the transition by some 1e-3 in pressure.
    heaviness: a large particle has this over delta^(D-1) masses of a small one, but at least one: it may touch so many
        small ones that FIRE's step would be too large for the stiffness they add up to.
    careful_below, careful_step: under this size ratio FIRE's longest step is this. 2000 spheres of ratio 0.22 at
        X_S = 0.3 with 94 % of the small ones jammed then balance within 85,000 steps, from a state from which steps of
        10 wander off for more than 200,000. Whole descents from X_S = 0.2 on still fail there.
    tolerance: ten times stricter than what counts as equilibrium.
    """

    start_phi: tuple[float, float] = (0.6, 0.4)
    compression: float = 0.005
    heaviness: float = 0.3
    careful_below: float = 0.3
    careful_step: float = 4.0
    tolerance: float = 1e-5

    name: ClassVar[str] = "compress stepwise and decompress"

    def pace(self, size_ratio: float, dim: int) -> Pace:
        large_mass = max(1.0, self.heaviness / size_ratio ** (dim - 1))
        if size_ratio < self.careful_below:
            return Pace(large_mass, self.careful_step, "multi")
        return Pace(large_mass)


def jam(
    mixture: Mixture, rng: np.random.Generator, protocol: Protocol | None = None, elongation: float = 1.0
) -> Packing:
    """One jammed packing of `mixture` from the random start that `rng` draws; nothing else of it is random.

    Args:
        elongation: of the box, its length along x over its other sides.
    Raises:
        NotJammedError: it did not come to mechanical equilibrium at the wanted pressure.
        WavesimError: no engine.
    """
    return descended(mixture, rng, protocol, elongation)[-1]


def descended(
    mixture: Mixture, rng: np.random.Generator, protocol: Protocol | None = None, elongation: float = 1.0
) -> list[Packing]:
    """The packings passed on the way to `jam`'s, which is the last; each in equilibrium. Args, Raises: as `jam`."""
    protocol = protocol or Protocol()
    shape = np.where(np.arange(mixture.dim) == 0, elongation, 1.0) / elongation ** (1 / mixture.dim)
    box = mixture.side(protocol.start_phi[mixture.dim - 2]) * shape
    start = Packing(
        positions=rng.uniform(0, box, (mixture.particles, mixture.dim)),
        radii=mixture.radii(),
        species=mixture.species(),
        box=box,
        protocol=protocol.describe(),
    )
    pace = protocol.pace(mixture.size_ratio, mixture.dim)
    with Engine(start.positions, start.radii, start.species, start.box, pace) as engine:
        passed = protocol.descend(engine, replace(start, engine=engine.version))
    last = passed[-1]
    assert last.bulk_modulus is not None
    passed[-1] = replace(
        last,
        phi_j=last.phi * (1 - last.pressure / last.bulk_modulus),
        path_phi=np.array([packing.phi for packing in passed]),
        path_pressure=np.array([packing.pressure for packing in passed]),
    )
    return passed


def settled(packing: Packing, protocol: Protocol | None = None) -> EngineState:
    """A packing relaxed to equilibrium in its box, to the protocol's tolerance.

    Loads the engine: call it in a process of its own.

    Raises:
        NotJammedError: it does not come to equilibrium, or carries nothing.
    """
    protocol = protocol or Protocol()
    pace, lost = protocol.pace(packing.size_ratio, packing.dim), LOST * protocol.pressure
    with Engine(packing.positions, packing.radii, packing.species, packing.box, pace) as engine:
        state = relaxed(engine, packing.radii, protocol, lost)
    if state.pressure < lost:
        raise NotJammedError(f"pressure {state.pressure:.1e}: it came apart")
    return state


def relaxed(engine: Engine, radii: np.ndarray, protocol: Protocol, lost: float) -> EngineState:
    """Relax to equilibrium; a state whose pressure has fallen under `lost` is returned as it is. radii: (N,).

    Raises:
        NotJammedError: neither, within the protocol's steps.
    """
    allowed, dim = protocol.tolerance, engine.dim
    load = force_scale(lost, radii, dim)
    for _ in range(protocol.steps // protocol.stretch):
        engine.relax(allowed * load, protocol.stretch)
        state = engine.state()
        load = force_scale(state.pressure, radii, dim)
        if state.pressure < lost or state.largest_force <= allowed * load:
            return state
    raise NotJammedError(
        f"not in mechanical equilibrium after {protocol.steps} steps: the largest net force is "
        f"{state.largest_force / load:.1e} of the load p d_S^(D-1), allowed {allowed:.1e}"
    )


@dataclass(frozen=True)
class _Descent:
    """The engine on its way from the quench of `start` down to the wanted pressure."""

    engine: Engine
    start: Packing
    protocol: Protocol

    def run(self) -> list[Packing]:
        """The packings passed, each in a stable equilibrium; the last one has the wanted pressure."""
        state, packing = self._above_jamming()
        passed = [packing]
        while state.pressure > 1.5 * self.protocol.pressure:
            wanted = max(state.pressure / self.protocol.reduction, self.protocol.pressure)
            assert packing.bulk_modulus is not None
            state, packing = self._lower(state, (state.pressure - wanted) / packing.bulk_modulus, LOST * wanted)
            passed.append(packing)
        return passed

    def _above_jamming(self) -> tuple[EngineState, Packing]:
        """Relax, and compress until the packing carries the start pressure."""
        while True:
            state, packing = self._stable(self.protocol.start_pressure)
            if packing is not None:
                return state, packing
            phi = packing_fraction(self.start.radii, state.box) + self.protocol.compression
            if phi > 1:
                raise NotJammedError(f"pressure {state.pressure:.1e} close to packing fraction 1: it does not jam")
            self.engine.scale((1 - self.protocol.compression / phi) ** (1 / self.start.dim))

    def _lower(self, state: EngineState, step: float, lost: float) -> tuple[EngineState, Packing]:
        """Lower phi by the part `step` of itself; where the pressure ends under `lost`, go back and halve the step."""
        for _ in range(12):
            self.engine.scale((1 - step) ** (-1 / self.start.dim))
            lower, packing = self._stable(lost)
            if packing is not None:
                return lower, packing
            self.engine.restore(state)
            step /= 2
        raise NotJammedError(f"every step down from pressure {state.pressure:.1e} loses the load-bearing network")

    def _stable(self, lost: float) -> tuple[EngineState, Packing | None]:
        """Relax into a stable equilibrium, with its bulk modulus; None where the pressure ends under `lost`."""

        state = relaxed(self.engine, self.start.radii, self.protocol, lost)

        def settle() -> EngineState:
            state = relaxed(self.engine, self.start.radii, self.protocol, lost)
            return strictly(self.engine, state, self.start, self.protocol.tolerance, self.protocol.steps)

        return stable(self.engine, state, self.start, settle, lost)


def strictly(engine: Engine, state: EngineState, start: Packing, tolerance: float, steps: int) -> EngineState:
    """`state`, which the engine holds, relaxed on to STRICTER times the tolerance, as beside a saddle point."""
    load = force_scale(state.pressure, start.radii, start.dim)
    engine.relax(STRICTER * tolerance * load, steps)
    return engine.state()


def stable(
    engine: Engine, state: EngineState, start: Packing, settle: Callable[[], EngineState], lost: float
) -> tuple[EngineState, Packing | None]:
    """The stable equilibrium next to `state` of the particles of `start`; see `saddle.out_of_saddles`.

    Raises:
        NotJammedError: it is not balanced, has no bulk modulus, or stays at a saddle point.
    """

    def measure(state: EngineState) -> Packing:
        packing = replace(start, positions=state.positions, box=state.box)
        if not packing.balanced:
            raise NotJammedError(f"the largest net force is {packing.unbalanced_force:.1e} of the load p d_S^(D-1)")
        return with_modulus(packing)

    try:
        return out_of_saddles(engine, state, measure, settle, lost, 2 * float(start.radii.min()))
    except SaddleError as error:
        raise NotJammedError(str(error)) from error


def with_modulus(packing: Packing) -> Packing:
    """The packing with its bulk modulus, measured without the engine.

    Raises:
        SaddleError: the energy falls in some direction.
        NotJammedError: it has no bulk modulus, or a negative one.
    """
    try:
        modulus = bulk_modulus(packing)
    except SaddleError:
        raise
    except WavesimError as error:
        raise NotJammedError(str(error)) from error
    if not modulus > 0:
        raise NotJammedError(f"bulk modulus {modulus:.3g} at pressure {packing.pressure:.1e}: not a stable packing")
    return replace(packing, bulk_modulus=modulus)
