"""Trajectories through many media at once.

Where the density is the same in all of them, the stiffness K does not depend on the medium, and 1/kappa sits in the
diagonal M alone: K, its largest eigenvalue and the absorbing layer are made once for all, and a step of the whole batch
is one product with a matrix (unknowns, batch). Any other media run one by one.

All in a batch take the same time steps, set by the fastest medium. So who is in it is part of a trajectory's settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wavesim.config import WaveSettings
from wavesim.fem import absorbing, stepper
from wavesim.fem.boundary import Sides, require_waves, unknowns
from wavesim.fem.margins import continued
from wavesim.fem.medium import Medium
from wavesim.fem.simulation import (
    DTYPES,
    Problem,
    Simulation,
    mesh_of,
    run,
    simulate,
)
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
    """The problem of all media together; None where they do not share K.

    Raises:
        WavesimError: as `assemble`.
    """
    if len(media) < 2:
        return None
    from wavesim.fem import _dolfinx  # inside the function, so that the package is there without dolfinx

    domain, dtype, sides = config.domain, DTYPES[config.precision], Sides(*config.domain.sides)
    nodes, layer = mesh_of(config, elements, degree)
    nodes = replace(nodes, margins=sides.margins(layer))
    media = [continued(medium, nodes.extent) for medium in media]
    space = _dolfinx.space(nodes)
    density = space.evaluate(media[0].density)
    if any(np.any(space.evaluate(medium.density) != density) for medium in media[1:]):
        return None
    prolongation = require_waves(unknowns(space.points, sides))
    bulk_moduli = [space.evaluate(medium.bulk_modulus) for medium in media]
    mass = np.stack([prolongation.T @ space.mass(values) for values in bulk_moduli]).T
    stiffness = (prolongation.T @ space.stiffness(density) @ prolongation).tocsr()
    return Problem(
        space,
        prolongation,
        stepper.operator(
            stiffness,
            mass,
            config.frame_interval,
            order=config.time_order,
            dtype=dtype,
            layer=absorbing.of_space(space, prolongation, mass, np.stack(bulk_moduli).T, density, dtype),
            device=config.device,
        ),
        (space.cell_averages(domain.cells) @ prolongation).astype(dtype),
        domain.cells,
        config.frame_interval,
    )
