"""Out of a saddle point of the energy, where a relaxation may end as well as in a minimum.

Forces balance at both, and FIRE's steps shrink with the forces: it stays. So the particles are displaced by u along a
direction in which the energy falls (`moduli.SaddleError`) and relaxed again, to the one side and to the other:
    |u| = 1e-3, 1e-3, 1e-2, 1e-2 of the small diameter, for the particle that moves furthest.

A particle between two others in a row, with room on both sides, buckles so: the row pushes it out with a force of
2 k_n delta u / r. Disks of two sizes do it most where one kind is rare and the others lie in rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wavesim.granular._lammps import Engine, EngineState
from wavesim.granular.moduli import SaddleError
from wavesim.granular.packing import Packing

KICKS = (1e-3, -1e-3, 1e-2, -1e-2)


def out_of_saddles(
    engine: Engine,
    state: EngineState,
    measure: Callable[[EngineState], Packing],
    settle: Callable[[], EngineState],
    lost: float,
    diameter: float,
) -> tuple[EngineState, Packing | None]:
    """The stable state next to `state`, and what `measure` makes of it; None where its pressure falls under `lost`.

    Args:
        state: the engine's, relaxed.
        measure: raises SaddleError.
        settle: relaxes what the engine holds.
        diameter: of the small particles.
    Raises:
        SaddleError: it is still at a saddle point after every displacement.
    """
    for kick in KICKS:
        if state.pressure < lost:
            return state, None
        try:
            return state, measure(state)
        except SaddleError as saddle:
            engine.restore(replace(state, positions=state.positions + kick * diameter * saddle.direction))
            state = settle()
    return state, measure(state) if state.pressure >= lost else None
