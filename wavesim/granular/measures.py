"""What a line of diagram.jsonl says of a packing, and of the way to it: phi_J three ways, moduli, contacts, shares.

Each way to phi_J knows nothing of the others, and where they do not agree there is no line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wavesim.errors import WavesimError
from wavesim.granular._lammps import Engine
from wavesim.granular.jamming import NotJammedError, Protocol
from wavesim.granular.moduli import (
    GivesWayError,
    bulk_modulus,
    bulk_modulus_by_strain,
    partial_bulk_moduli,
    shear_modulus,
)
from wavesim.granular.packing import LARGE, SMALL, Packing
from wavesim.granular.transition import bracket, extrapolated, second_transition

# The largest difference of phi_J by the bulk modulus and by the last two pressures. Of the first 96 packings it was
# under 2e-5 in all but one, whose K was a twentieth of its like's (disks about to buckle), and there 5e-4.
AGREEMENT = 2e-4
# Of packings kept at higher pressures, whose contacts still open on the way to phi_J, this part of that way.
AGREEMENT_ABOVE = 0.5


def measured(packing: Packing, protocol: Protocol) -> dict[str, Any]:
    """What a line of diagram.jsonl says of a packing. Loads the engine, for the bracket of phi_J.

    phi_j_carrying counts no rattlers; carrying_small and carrying_large are shares of their species (absent without
    one); LL, LS and SS are the parts of bulk_modulus; probes: of the bracket phi_unjammed to phi_jammed.

    Raises:
        NotJammedError: no bracket was found, or the ways to phi_J do not agree.
    """
    found, by_pressure = bracket(packing, protocol), extrapolated(packing)
    allowed = max(AGREEMENT, AGREEMENT_ABOVE * (packing.phi - packing.phi_j))
    if max(abs(by_pressure - packing.phi_j), found.misses(packing.phi_j)) > allowed:
        raise NotJammedError(
            f"phi_J is {packing.phi_j:.5f} by the bulk modulus {packing.bulk_modulus:.3g}, {by_pressure:.5f} by the "
            f"last two pressures and within {found.unjammed:.5f} to {found.jammed:.5f} by what carries, which differ "
            f"by more than {allowed:.2g}"
        )
    volumes = packing.radii**packing.dim
    carrying = ~packing.rattlers
    shares = {
        f"carrying_{name}": packing.carrying(kind)
        for name, kind in (("small", SMALL), ("large", LARGE))
        if (packing.species == kind).any()
    }
    return {
        "phi_j": packing.phi_j,
        "phi_j_carrying": float(packing.phi_j * volumes[carrying].sum() / volumes.sum()),
        "phi_j_extrapolated": by_pressure,
        "phi_unjammed": found.unjammed,
        "phi_jammed": found.jammed,
        "probes": found.probes,
        "pressure": packing.pressure,
        "unbalanced_force": packing.unbalanced_force,
        "bulk_modulus": packing.bulk_modulus,
        **partial_bulk_moduli(packing),
        "shear_modulus": shear_modulus(packing),
        "coordination": packing.coordination,
        **{f"contacts_{kind}": mean for kind, mean in packing.coordination_by_kind.items()},
        **shares,
    }


def strained(packing: Packing, protocol: Protocol) -> dict[str, Any]:
    """K by a small strain, that strain, and K by the Hessian of the state that was strained.

    By an engine that knows no more than the positions and the size of K. The state is relaxed further before, by which
    a weak contact may open or close. Where it gives way instead, gives_way.
    """
    pace = protocol.pace(packing.size_ratio, packing.dim)
    with Engine(packing.positions, packing.radii, packing.species, packing.box, pace) as engine:
        try:
            found = bulk_modulus_by_strain(engine, packing.radii, packing.bulk_modulus or 0.3)
        except GivesWayError:
            return {"gives_way": True}
    try:
        relaxed = bulk_modulus(replace(packing, positions=found.state.positions, box=found.state.box))
    except WavesimError:  # a saddle point, or a floppy mode
        return {"gives_way": True}
    return {"bulk_modulus_strain": found.modulus, "strain": found.strain, "bulk_modulus_relaxed": relaxed}


def measured_on_the_way(passed: Sequence[Packing]) -> dict[str, Any]:
    """What a line says of an unloading besides: the second transition where there is one, and the way there.

    phi_j2 is by extrapolated pressure, phi_j2_jammed and phi_j2_unjammed around it, phi_j2_width over which the small
    ones join; NAME_2 as `measured` says, in the last state in which they carry. path: lists over the states, the
    pressure of LS and SS contacts among them.
    """
    row: dict[str, Any] = {}
    second = second_transition(passed)
    if second is not None:
        row |= {"phi_j2": second.phi, "phi_j2_jammed": second.jammed, "phi_j2_unjammed": second.unjammed}
        if second.width is not None:
            row["phi_j2_width"] = second.width
        row |= {"pressure_2": second.packing.pressure, "carrying_small_2": second.packing.carrying(SMALL)}
        try:
            parts = partial_bulk_moduli(second.packing)
        except WavesimError:  # half of the small ones have just come loose: it may be floppy, or a saddle point
            pass
        else:
            row |= {"bulk_modulus_2": sum(parts.values()), **{f"{kind}_2": part for kind, part in parts.items()}}
    with_small = [packing.pressure - packing.partial_pressures["LL"] for packing in passed]
    path = {
        "phi": [packing.phi for packing in passed],
        "pressure": [packing.pressure for packing in passed],
        "pressure_small": with_small,
        "carrying_small": [packing.carrying(SMALL) for packing in passed],
    }
    return {**row, "path": {name: [float(f"{value:.5g}") for value in values] for name, values in path.items()}}
