"""The speed of a pulse, measured by Newton's equations: what the moduli foretell, seen in motion.

At a plane across the box's longest side the particles that carry get the velocity

    v(x) = 2 e c exp( -x^2 / (2 w^2) ),     w = wavelength / (2 pi),

along that side (P) or across it (S), c being the speed foretold. It parts into two pulses of strain e that run both
ways round the periodic box, without damping, and meet half a box further on. There, weighted by the same Gaussian, the
mean velocity peaks at the time of arrival. The strain is a small part of the mean overlap (over the large diameter), so
that hardly any contact opens.

Means over four packings and three planes are 0.1 to 4 % from the speed foretold along the box, single pulses up to 8 %,
at pressures from 1e-3 and wavelengths of 20 to 50 d (benchmarks/results/wave_speeds.md). Near jamming a P-wave is a
little fast: rearrangements that are slower than it do not follow. S-waves are scattered more.

Reference: Somfai, Roux, Snoeijer, van Hecke, van Saarloos, Phys. Rev. E 72 (2005) 021301.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wavesim import processes
from wavesim.errors import WavesimError
from wavesim.granular._lammps import Engine
from wavesim.granular.moduli import acoustic_tensor, carrying_fraction
from wavesim.granular.packing import LARGE, SMALL, Packing, ball_volume

TIME_STEP = 0.1  # of sqrt(m / k_n), m the mass of a small particle; half of it changes speeds by 2e-5
STRIDE = 2  # time steps between two looks


@dataclass(frozen=True)
class Arrival:
    """Pulses that met half a box on. times, velocity: (looks,) the mean velocity there; expected: the speed foretold.

    Speeds are in sqrt(k_n / d^(D-2)) over the root of the particles' own density.
    """

    times: np.ndarray
    velocity: np.ndarray
    distance: float
    expected: float
    width: float

    @property
    def time(self) -> float:
        """When the velocity peaks, by a parabola through its top."""
        top = int(np.argmax(self.velocity))
        near = np.abs(self.times - self.times[top]) <= self.width / self.expected
        bent, sloped, _ = np.polyfit(self.times[near] - self.times[top], self.velocity[near], 2)
        return float(self.times[top] - sloped / (2 * bent))

    @property
    def speed(self) -> float:
        """As measured."""
        return self.distance / self.time


def pulse_speeds(
    packings: Sequence[Packing],
    wavelength: float = 30.0,
    kind: Literal["P", "S"] = "P",
    plane: float = 0.0,
    strain: float = 0.01,
    workers: int = 1,
) -> list[Arrival]:
    """Send a pulse through each packing, in processes of their own; as `send`."""
    with processes.pool(workers) as pool:
        jobs = [pool.submit(send, packing, wavelength, kind, plane, strain) for packing in packings]
        return [job.result() for job in jobs]


def send(
    packing: Packing, wavelength: float = 30.0, kind: Literal["P", "S"] = "P", plane: float = 0.0, strain: float = 0.01
) -> Arrival:
    """Send a pulse through a packing and wait for it; LAMMPS runs in this process.

    Args:
        wavelength: in large diameters. plane: where it starts, in lengths of the box. strain: over the mean overlap.
    Raises:
        WavesimError: a box shorter than two wavelengths, a packing without load, or one that shear unjams (S).
    """
    axis = int(np.argmax(packing.box))
    length, width = float(packing.box[axis]), wavelength / (2 * np.pi)
    if not 0 < 2 * wavelength <= length:
        raise WavesimError(
            f"wavelength {wavelength:.4g} must be positive, and twice in the box's longest side, {length:.4g}: use a "
            "shorter one, or an elongated box"
        )
    if kind not in ("P", "S"):
        raise WavesimError(f"kind {kind!r} of a pulse must be 'P' or 'S'")
    along = (axis + (kind == "S")) % packing.dim
    stiffness = float(acoustic_tensor(packing, np.eye(packing.dim)[axis])[along, along])
    if not stiffness > 0:
        raise WavesimError(f"the packing resists no {kind}-wave: its modulus is {stiffness:.3g}; compress it further")
    expected = float(np.sqrt(stiffness / carrying_fraction(packing)))
    volume = ball_volume(packing.dim)
    radii = [float(packing.radii[packing.species == one].max(initial=0.0)) or 0.5 for one in (SMALL, LARGE)]
    masses = (volume * radii[0] ** packing.dim, volume * radii[1] ** packing.dim)
    carrying = np.where(packing.rattlers, 0.0, np.array(masses)[packing.species])

    def gaussian(centre: float) -> np.ndarray:
        away = packing.positions[:, axis] - centre * length
        return np.exp(-((away - length * np.rint(away / length)) ** 2) / (2 * width**2))

    start = np.zeros_like(packing.positions)
    start[:, along] = 2 * strain * packing.backbone.overlap.mean() * expected * gaussian(plane) * (carrying > 0)
    weights = carrying * gaussian(plane + 0.5)
    time_step = TIME_STEP * float(np.sqrt(min(masses[one] for one in np.unique(packing.species))))
    looks = int(0.75 * length / expected / (STRIDE * time_step))
    with Engine(packing.positions, packing.radii, packing.species, packing.box) as engine:
        engine.let_go(start, masses, time_step)
        velocity = [float(weights @ engine.move(STRIDE)[:, along]) for _ in range(looks)]
    times = (1 + np.arange(looks)) * STRIDE * time_step
    return Arrival(times, np.array(velocity) / weights.sum(), length / 2, expected, width)
