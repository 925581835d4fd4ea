"""The loops of the structured step (structured_loops.c): its network forward and back in every acceleration."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from wavesim.compiled import compiled
from wavesim.errors import WavesimError
from wavesim.surrogate.cascade import Cascade, Packed
from wavesim.surrogate.models import Context, Forecaster
from wavesim.surrogate.structured import StructuredStep
from wavesim.surrogate.workspace import Bound, pointer, zeros


class _Frame(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "stride", "substeps")),
        ("budget", ctypes.c_float),
        ("network", Cascade),
        ("adjoint", Cascade),
        *((name, ctypes.c_void_p) for name in ("roots", "kappa", "softness", "pressure", "strain", "rate")),
    ]


class StructuredLoops:
    """The library for a forecaster whose step is structured.

    Raises:
        WavesimError: no C compiler, sides that are not rigid, or filters that are not one-way, too many or too long.
    """

    def __init__(self, model: Forecaster):
        assert isinstance(model.coarse, StructuredStep)
        if set(model.config.sides) != {"rigid"}:
            raise WavesimError(
                f"the loops know structured steps between rigid walls, not sides {', '.join(model.config.sides)}: use "
                "ONNX Runtime or PyTorch"
            )
        self._step = model.coarse
        self.library = compiled(Path(__file__).with_name("structured_loops.c"), TAPS=model.config.kernel_size)
        self._packed = Packed(self._step.network, self.library)
        if not self._packed.one_way:
            raise WavesimError(
                f"the loops know structured steps of one-way filters, not '{model.config.convolution}': use ONNX "
                "Runtime or PyTorch"
            )

    def bound(self, context: Context, budgets: Sequence[float]) -> list[Bound]:
        """A workspace for each of the states in the one medium of `context`."""
        return [self._bound(context, budget) for budget in budgets]

    def _bound(self, context: Context, budget: float) -> Bound:
        stencil = context.stencil[0].numpy()
        substeps = self._step.substeps if context.substeps is None else int(context.substeps)
        (network, arrays), (adjoint, others) = (
            way(stencil[self._step.links + 1 :]) for way in (self._packed.cascade, self._packed.adjoint)
        )
        rows, columns, stride = network.rows, network.columns, network.stride
        pitch = stride + 2 * self._packed.lanes
        roots, kappa, softness = zeros(4, rows, stride), zeros(rows, stride), zeros(rows, stride)
        roots[..., :columns], kappa[:, :columns] = stencil[: self._step.links], stencil[self._step.links]
        softness[:, :columns] = 1 / stencil[self._step.links]
        tables = [roots, kappa, softness, zeros(rows + 2, pitch), zeros(4, rows + 2, pitch), zeros(rows, stride)]
        frame = _Frame(rows, columns, stride, substeps, budget, network, adjoint, *map(pointer, tables))
        return Bound(frame, [*arrays, *others, *tables])
