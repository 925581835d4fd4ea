"""Trajectories through many media at once.

Where the density is the same everywhere and in all of them, the stiffness K does not depend on the medium, 1/kappa
sits in the diagonal M alone, and a step of the whole batch is one product of K with a matrix (unknowns, batch): K is
read once for all of them. Any other media, and absorbing sides, run one by one.

All in a batch take the same time steps, set by the fastest medium. So who is in it is part of a trajectory's settings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wavesim.config import WaveSettings
from wavesim.fem import stepper
from wavesim.fem.boundary import Sides, unknowns
from wavesim.fem.medium import Medium
from wavesim.fem.simulation import DTYPES, Problem, Simulation, mesh_of, run, simulate
from wavesim.fem.source import Pulse


def simulate_all(
    config: WaveSettings,
    media: Sequence[Medium],
    pulses: Sequence[Pulse],
    elements: int | None = None,
    degree: int | None = None,
    wanted: int | None = None,
) -> list[Simulation]:
    """All frames of the trajectories through `media` from `pulses`, or of the first `wanted`; all set the time step.

    Raises:
        WavesimError: as `simulate`.
    """
    shared = assemble_batch(config, media, elements, degree)
    if shared is None:
        pairs = list(zip(media, pulses, strict=True))[:wanted]
        return [simulate(config, medium, pulse, elements, degree) for medium, pulse in pairs]
    pressure = np.stack([shared.at_unknowns(pulse) for pulse in pulses], axis=1)
    return run(shared, stepper.init(shared.operator, pressure), config.frames)[:wanted]


def assemble_batch(
    config: WaveSettings, media: Sequence[Medium], elements: int | None = None, degree: int | None = None
) -> Problem | None:
    """The problem of all media together; None where they do not share K, or a side is absorbing.

    Raises:
        WavesimError: as `assemble`.
    """
    if "absorbing" in config.domain.sides or len(media) < 2:
        return None
    from wavesim.fem import _dolfinx  # inside the function, so that the package is there without dolfinx

    domain, dtype = config.domain, DTYPES[config.precision]
    space = _dolfinx.space(mesh_of(config, elements, degree)[0])
    density = space.evaluate(media[0].density)
    if any(np.any(other != density[0]) for other in (density, *(space.evaluate(m.density) for m in media[1:]))):
        return None
    prolongation = unknowns(space.points, Sides(*domain.sides))
    mass = np.stack([prolongation.T @ space.mass(space.evaluate(m.bulk_modulus)) for m in media], axis=1)
    stiffness = (prolongation.T @ space.stiffness(density) @ prolongation).tocsr()
    return Problem(
        space,
        prolongation,
        stepper.operator(
            stiffness, mass, config.frame_interval, order=config.time_order, dtype=dtype, device=config.device
        ),
        (space.cell_averages(domain.cells) @ prolongation).astype(dtype),
        domain.cells,
        config.frame_interval,
    )
