"""The loops of explicit steps that are links to near cells (step_loops.c): the coarse step and the effective one."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wavesim.compiled import compiled
from wavesim.surrogate.effective import EffectiveStep
from wavesim.surrogate.models import Context, Forecaster
from wavesim.surrogate.workspace import Bound, pointer, zeros


class _Frame(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "stride", "substeps")),
        *((name, ctypes.c_long) for name in ("low_y", "high_y", "low_x", "high_x")),
        ("budget", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("links", "softness", "damping", "pressure", "rate", "acceleration")),
        ("known", ctypes.c_long),
    ]


class StepLoops:
    """The library for a forecaster that is a step and nothing else.

    Raises:
        WavesimError: no C compiler.
    """

    def __init__(self, model: Forecaster):
        self.step = model.coarse
        self.library = compiled(Path(__file__).with_name("step_loops.c"), LINKS=self.step.links)
        self._lanes, self._reach = (ctypes.c_long.in_dll(self.library, name).value for name in ("lanes", "reach"))

    def bound(self, context: Context, budgets: Sequence[float]) -> list[Bound]:
        """A workspace for each of the states in the one medium of `context`."""
        step, stencil = self.step, context.stencil[0].numpy()
        substeps = step.substeps if context.substeps is None else int(context.substeps)
        rows, columns = stencil.shape[-2:]
        stride = -(-columns // self._lanes) * self._lanes
        links, softness = zeros(rows, step.links, stride), zeros(rows, stride)
        links[..., :columns] = stencil[: step.links].swapaxes(0, 1)
        softness[:, :columns] = 1 / (stencil[-1] if isinstance(step, EffectiveStep) else context.medium[0, 0].numpy())
        damping = None
        if step.absorbs:
            damping, share = zeros(2, rows, stride), stencil[step.links] / (2 * substeps)
            damping[..., :columns] = 1 - share, 1 / (1 + share)
        rate = zeros(rows, stride)  # one for all, like the medium: a frame begins and ends in the caller's arrays
        found = []
        for budget in budgets:
            pressure, kept = zeros(rows + 2 * self._reach, stride + 2 * self._lanes), zeros(rows, stride)
            tables: list[np.ndarray | None] = [links, softness, damping, pressure, rate, kept]
            frame = _Frame(rows, columns, stride, substeps, *step.images_beyond(), budget, *map(pointer, tables), 0)
            found.append(Bound(frame, list(tables)))
        return found
