"""The loops of a gated forecaster (gated_loops.c): coarse step, network and energy in one pass over the rows.

A row goes through gate, 1 x 1, both axis filters, 1 x 1 and the next layer while it is in the cache. One-way filters
(cp) run as they are, all others as dense kernels.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from wavesim.compiled import compiled
from wavesim.errors import WavesimError
from wavesim.surrogate.cascade import Cascade, Packed
from wavesim.surrogate.models import Context, Forecaster
from wavesim.surrogate.networks.gated import Gated
from wavesim.surrogate.workspace import Bound, pointer, zeros


class _Frame(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "stride", "substeps")),
        ("budget", ctypes.c_float),
        ("network", Cascade),
        *((name, ctypes.c_void_p) for name in ("stencil", "softness", "mask", "before", "after")),
    ]


class GatedLoops:
    """The library for a forecaster with a gated network.

    Raises:
        WavesimError: no C compiler, sides that are not rigid, or filters that are too many or too long.
    """

    def __init__(self, model: Forecaster, precision: Literal["float32", "bfloat16"]):
        if set(model.config.sides) != {"rigid"}:
            raise WavesimError(
                f"the loops know gated networks between rigid walls, not sides {', '.join(model.config.sides)}: use "
                "ONNX Runtime or PyTorch"
            )
        assert isinstance(model.network, Gated)
        half = {"HALF": 1} if precision == "bfloat16" else {}
        self.library = compiled(Path(__file__).with_name("gated_loops.c"), TAPS=model.config.kernel_size, **half)
        self._packed, self._substeps = Packed(model.network, self.library, precision), model.config.substeps

    def bound(self, context: Context, budgets: Sequence[float]) -> list[Bound]:
        """A workspace for each of the states in the one medium of `context`."""
        return [self._bound(context, budget) for budget in budgets]

    def _bound(self, context: Context, budget: float) -> Bound:
        parts = (context.medium, context.stencil, torch.cat(context.seen, dim=1))
        medium, stencil, gates = (part[0].numpy() for part in parts)
        network, arrays = self._packed.cascade(gates)
        rows, columns, stride, lanes = network.rows, network.columns, network.stride, self._packed.lanes
        faces, softness = zeros(4, rows, stride), zeros(rows, stride)
        faces[..., :columns], softness[:, :columns] = stencil, 1 / medium[0]
        mask = None
        if not context.mask.all():
            mask = zeros(rows, stride)
            mask[:, :columns] = context.mask[0, 0].numpy()
        tables = [faces, softness, mask, zeros(2, rows, stride), zeros(2, rows + 2, stride + 2 * lanes)]
        frame = _Frame(rows, columns, stride, self._substeps, budget, network, *map(pointer, tables))
        return Bound(frame, [*arrays, *tables])
