"""A jammed packing: quench random particles above jamming, then let the box expand until the pressure all but vanishes.

With K = phi dp/dphi from the Hessian, the next packing fraction on the way down to a pressure p' is Newton's
    phi' = phi (1 - (p - p') / K)
p' being a fixed part of p. K falls as contacts open, so that a step mostly falls short, which is safe; a step that
loses the load-bearing network is taken back and halved. The last state, at small p, gives phi_J = phi (1 - p / K).

Packing fractions count overlaps twice. Units: the large diameter is 1, k_n = 1, pressures in k_n / d^(D-2).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular._lammps import Engine, EngineState
from wavesim.granular.moduli import bulk_modulus
from wavesim.granular.packing import (
    LARGE,
    SHORTEST_BOX,
    SMALL,
    Packing,
    ball_volume,
    force_scale,
    packing_fraction,
)

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

    def describe(self) -> str:
        """The protocol as one line of JSON."""
        return json.dumps({"name": "quench and decompress", **asdict(self)}, sort_keys=True)


@dataclass(frozen=True)
class Mixture:
    """Two species. particles: in all; size_ratio: small over large diameter; small_fraction: area (volume)
    concentration of the small ones, None for as many small as large; dim: 2 or 3.

    Raises:
        WavesimError: values out of range, a species without a particle, or too few particles for a periodic box.
    """

    particles: int
    size_ratio: float
    small_fraction: float | None = None
    dim: int = 2

    def __post_init__(self) -> None:
        if self.dim not in (2, 3):
            raise WavesimError(f"dim {self.dim} is neither 2 (disks) nor 3 (spheres)")
        if self.particles < 2:
            raise WavesimError(f"{self.particles} particles are no mixture: give at least 16, better 64")
        if not 0 < self.size_ratio <= 1:
            raise WavesimError(f"size_ratio {self.size_ratio} is not in (0, 1]: it is small over large diameter")
        if self.small_fraction is not None and not 0 < self.small_fraction < 1:
            raise WavesimError(f"small_fraction {self.small_fraction} is not between 0 and 1")
        if not 0 < self.small < self.particles:
            species = "small" if self.small == 0 else "large"
            raise WavesimError(
                f"small_fraction {self.small_fraction} at size ratio {self.size_ratio:.4g} leaves {self.particles} "
                f"particles without a {species} one: use more particles, or more of the {species} species"
            )
        side = self.side(1.0)
        if side < SHORTEST_BOX:
            needed = math.ceil(self.particles * (SHORTEST_BOX / side) ** self.dim)
            raise WavesimError(
                f"{self.particles} particles at size ratio {self.size_ratio:.4g} fill a box of {side:.2g} large "
                f"diameters, and periodic images need {SHORTEST_BOX:g}: use at least {needed} particles"
            )

    @property
    def small(self) -> int:
        """The number of small particles that comes nearest to the concentration."""
        if self.small_fraction is None:
            return self.particles // 2
        ratio = self.small_fraction / ((1 - self.small_fraction) * self.size_ratio**self.dim)
        return round(self.particles * ratio / (1 + ratio))

    def species(self) -> np.ndarray:
        """(N,) the small ones first."""
        return np.where(np.arange(self.particles) < self.small, SMALL, LARGE)

    def radii(self) -> np.ndarray:
        """(N,) in the large diameter."""
        return np.where(self.species() == SMALL, self.size_ratio / 2, 0.5)

    def side(self, phi: float) -> float:
        """Side of the box that they fill to the packing fraction `phi`."""
        return float((ball_volume(self.dim) * np.sum(self.radii() ** self.dim) / phi) ** (1 / self.dim))


def jam(mixture: Mixture, rng: np.random.Generator, protocol: Protocol | None = None) -> Packing:
    """One jammed packing of `mixture` from the random start that `rng` draws; nothing else of it is random.

    Raises:
        NotJammedError: it did not come to mechanical equilibrium at the wanted pressure.
        WavesimError: no engine.
    """
    protocol = protocol or Protocol()
    side = mixture.side(protocol.start_phi[mixture.dim - 2])
    start = Packing(
        positions=rng.uniform(0, side, (mixture.particles, mixture.dim)),
        radii=mixture.radii(),
        species=mixture.species(),
        box=np.full(mixture.dim, side),
        protocol=protocol.describe(),
    )
    with Engine(start.positions, start.radii, start.species, start.box) as engine:
        passed = _Descent(engine, replace(start, engine=engine.version), protocol).run()
    last = passed[-1]
    assert last.bulk_modulus is not None
    return replace(
        last,
        phi_j=last.phi * (1 - last.pressure / last.bulk_modulus),
        path_phi=np.array([packing.phi for packing in passed]),
        path_pressure=np.array([packing.pressure for packing in passed]),
    )


@dataclass(frozen=True)
class _Descent:
    """The engine on its way from the quench of `start` down to the wanted pressure."""

    engine: Engine
    start: Packing
    protocol: Protocol

    def run(self) -> list[Packing]:
        """The packings passed, each in equilibrium; the last one has the wanted pressure."""
        state = self._above_jamming()
        passed = [self._measured(state)]
        while state.pressure > 1.5 * self.protocol.pressure:
            wanted = max(state.pressure / self.protocol.reduction, self.protocol.pressure)
            assert passed[-1].bulk_modulus is not None
            state = self._lower(state, (state.pressure - wanted) / passed[-1].bulk_modulus, LOST * wanted)
            passed.append(self._measured(state))
        return passed

    def _above_jamming(self) -> EngineState:
        """Quench, and compress until the packing carries the start pressure."""
        while True:
            state = self._relaxed(self.protocol.start_pressure)
            if state.pressure >= self.protocol.start_pressure:
                return state
            phi = packing_fraction(self.start.radii, state.box) + self.protocol.compression
            if phi > 1:
                raise NotJammedError(f"pressure {state.pressure:.1e} close to packing fraction 1: it does not jam")
            self.engine.scale((1 - self.protocol.compression / phi) ** (1 / self.start.dim))

    def _lower(self, state: EngineState, step: float, lost: float) -> EngineState:
        """Lower phi by the part `step` of itself; where the pressure ends under `lost`, go back and halve the step."""
        for _ in range(12):
            self.engine.scale((1 - step) ** (-1 / self.start.dim))
            lower = self._relaxed(lost)
            if lower.pressure >= lost:
                return lower
            self.engine.restore(state)
            step /= 2
        raise NotJammedError(f"every step down from pressure {state.pressure:.1e} loses the load-bearing network")

    def _relaxed(self, lost: float) -> EngineState:
        """Relax to equilibrium; a state whose pressure has fallen under `lost` is returned as it is."""
        radii, dim, allowed = self.start.radii, self.start.dim, self.protocol.tolerance
        load = force_scale(lost, radii, dim)
        for _ in range(self.protocol.steps // self.protocol.stretch):
            self.engine.relax(allowed * load, self.protocol.stretch)
            state = self.engine.state()
            load = force_scale(state.pressure, radii, dim)
            if state.pressure < lost or state.largest_force <= allowed * load:
                return state
        raise NotJammedError(
            f"not in mechanical equilibrium after {self.protocol.steps} steps: the largest net force is "
            f"{state.largest_force / load:.1e} of the load p d_S^(D-1), allowed {allowed:.1e}"
        )

    def _measured(self, state: EngineState) -> Packing:
        """The state as a packing, its equilibrium checked and its bulk modulus measured without the engine."""
        packing = replace(self.start, positions=state.positions, box=state.box)
        if not packing.converged:
            raise NotJammedError(f"the largest net force is {packing.unbalanced_force:.1e} of the load p d_S^(D-1)")
        try:
            modulus = bulk_modulus(packing)
        except WavesimError as error:
            raise NotJammedError(str(error)) from error
        if not modulus > 0:
            raise NotJammedError(f"bulk modulus {modulus:.3g} at pressure {state.pressure:.1e}: not a stable packing")
        return replace(packing, bulk_modulus=modulus)
