"""A forecaster run by loops in C: a whole frame a call, nothing allocated, on any grid; a batch one by one.

    model = CompiledForecaster(load("compressed.safetensors"))
    forecast = rollout(model, state, medium, frames=64)
gated_loops.c    the coarse step and a gated network, between rigid walls
step_loops.c     the effective step, and the coarse step alone, between any sides
ONNX Runtime spends more than half of a gated frame between convolutions, on mirrored edges, gates and layouts.
"""

from __future__ import annotations

import copy
import ctypes
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from wavesim.errors import WavesimError
from wavesim.surrogate.effective import EffectiveStep
from wavesim.surrogate.gated_loops import GatedLoops
from wavesim.surrogate.models import Context, Forecaster
from wavesim.surrogate.step_loops import StepLoops
from wavesim.surrogate.workspace import Bound


class CompiledForecaster:
    """A trained forecaster in compiled loops; goes wherever a Forecaster goes in `rollout`.

    Raises:
        WavesimError: no C compiler, or a forecaster that the loops do not know: they know effective steps, the coarse
            step alone, and between rigid walls gated networks; all of one frame a call.
    """

    def __init__(self, model: Forecaster, precision: Literal["float32", "bfloat16"] = "float32"):
        _refuse_others(model, precision)
        self.model = copy.deepcopy(model).eval().cpu()
        self.courant, self.sides, self.precision = model.courant, model.config.sides, precision
        self._loops = GatedLoops(self.model, precision) if model.network else StepLoops(self.model)

    def start(self, state: np.ndarray, medium: np.ndarray, budget: float | None = None) -> list[Bound]:
        """The workspaces of media (1 or batch, 2, y, x) for states (batch, 2, y, x).

        Args:
            budget: of the energy, in the place of the one that the states have.
        Raises:
            WavesimError: a grid that the forecaster does not run on, or a medium in which its coarse step is unstable.
        """
        self.model.require((state.shape[-2], state.shape[-1]))
        with torch.no_grad():
            context = self.model.encode(torch.from_numpy(medium))
            self.model.coarse.check(context.stencil)
            budgets = self.model.budget(torch.from_numpy(state), context).flatten().tolist()
        budgets = budgets if budget is None else [budget] * len(budgets)
        media = [self._loops.bound(_of(context, m), budgets[m :: len(medium)]) for m in range(len(medium))]
        return [media[k % len(medium)][k // len(medium)] for k in range(len(state))]

    def advance(
        self, state: np.ndarray, context: list[Bound], out: np.ndarray | None = None, frames: int = 1
    ) -> np.ndarray:
        """The states of the next frames, (batch, frames, 2, y, x); in `out` where one is given: nothing is allocated.

        A context is a workspace: one thread at a time.
        Raises:
            WavesimError: states of another grid or number than the context was made for, or `out` of another kind.
        """
        shape = (len(context), frames, 2, *((context[0].frame.rows, context[0].frame.columns) if context else ()))
        out = np.empty(shape, np.float32) if out is None else out
        fits = out.shape == shape and out.dtype == np.float32 and out.flags.c_contiguous
        if (len(state), *state.shape[1:]) != (shape[0], *shape[2:]) or not fits:  # C writes wherever it is told
            raise WavesimError(
                f"state {state.shape} into {out.shape} {out.dtype}: this context takes states of "
                f"{(shape[0], *shape[2:])}, and `out` as {shape} float32 in one piece"
            )
        state = np.ascontiguousarray(state, np.float32)
        for k, bound in enumerate(context):
            places = ctypes.c_void_p(state[k].ctypes.data), ctypes.c_long(frames), ctypes.c_void_p(out[k].ctypes.data)
            self._loops.library.advance(ctypes.byref(bound.frame), *places)
        return out


def _of(context: Context, index: int) -> Context:
    """What is known of one medium of several."""
    one = slice(index, index + 1)
    seen = tuple(part[one] for part in context.seen)
    each = context.substeps
    substeps = int(each[index]) if isinstance(each, torch.Tensor) else each
    return Context(context.medium[one], context.stencil[one], seen, context.mask[one], substeps)


def _refuse_others(model: Forecaster, precision: str) -> None:
    config = model.config
    if not config.conserve_energy:
        raise WavesimError("only forecasters with conserve_energy are compiled: one without it can blow up")
    if config.ranks and config.network not in ("gated", "effective"):
        raise WavesimError(
            f"the loops know learned steps and gated networks, not '{config.network}': use ONNX Runtime or PyTorch"
        )
    if config.bundle > 1:
        raise WavesimError(f"the loops know one frame a call, not bundle {config.bundle}: use ONNX Runtime or PyTorch")
    if precision != "bfloat16":
        return
    if isinstance(model.coarse, EffectiveStep):
        raise WavesimError(f"network '{config.network}' is a step of single precision: use precision float32")
    if not multiplies_bfloat16():
        raise WavesimError("this processor does not multiply bfloat16 (AVX512-BF16): use precision float32")


def in_loops(model: Forecaster) -> Forecaster | CompiledForecaster:
    """A forecaster in compiled loops where they know it, in PyTorch elsewhere."""
    try:
        return CompiledForecaster(model)
    except WavesimError:
        return model


class DoubleBuffered:
    """Compiled loops whose frames take turns in two arrays of their context, so that a live view allocates none.

    A frame stands until the one after next is forecast: who collects frames copies them, or takes CompiledForecaster.
    """

    def __init__(self, loops: CompiledForecaster):
        self._loops = loops

    def start(self, state: np.ndarray, medium: np.ndarray) -> tuple[list[Bound], np.ndarray]:
        """As CompiledForecaster; the state that is given is only read."""
        return self._loops.start(state, medium), np.empty((2, len(state), 1, *state.shape[1:]), np.float32)

    def advance(self, state: np.ndarray, context: tuple[list[Bound], np.ndarray]) -> np.ndarray:
        """As CompiledForecaster, in the array that does not hold `state`."""
        bound, (one, other) = context
        return self._loops.advance(state, bound, other if np.may_share_memory(state, one) else one)


def multiplies_bfloat16() -> bool:
    """Whether this processor has AVX512-BF16."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()
