"""A frame of the coarse or the effective step with its derivatives, in compiled loops (step_gradients.c): for training.

PyTorch takes some 300 passes over small arrays for a frame of five sub-steps of twelve links, and as many back; here
they are one loop each way. The way there is walked once more on the way back: only frames are kept, not sub-steps.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch

from wavesim.compiled import compiled
from wavesim.errors import WavesimError
from wavesim.surrogate.layers.padding import Boundary

BEYOND: dict[Boundary, int] = {"zero": 0, "mirror": 1, "odd": -1, "periodic": 2}
"""The loops' numbers of what lies beyond a side."""
TYPES = {torch.float32: "float", torch.float64: "double"}


class _Frame(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "substeps", "low_y", "high_y", "low_x", "high_x")),
        *((name, ctypes.c_void_p) for name in ("links", "damping", "pressures", "rate", "sent")),
    ]


@cache
def _library(links: int, dtype: torch.dtype) -> ctypes.CDLL | None:
    """Nothing where there is no compiler."""
    try:
        return compiled(Path(__file__).with_suffix(".c"), LINKS=links, REAL=TYPES[dtype])
    except WavesimError:
        return None


def able(state: torch.Tensor, stencil: torch.Tensor, links: int) -> bool:
    """Whether a frame from here is to be taken by the loops: one that has derivatives, on the processor."""
    return (
        torch.is_grad_enabled()
        and (state.requires_grad or stencil.requires_grad)
        and not torch.compiler.is_exporting()
        and state.device.type == "cpu"
        and state.dtype == stencil.dtype in TYPES
        and _library(links, state.dtype) is not None
    )


def frame(
    state: torch.Tensor,
    links: torch.Tensor,
    damping: torch.Tensor | None,
    substeps: torch.Tensor,
    beyond: tuple[int, ...],
) -> torch.Tensor:
    """The state (batch, 2, y, x) one frame later; of a batch of 1 there is one for all of the others.

    Args:
        links: weights w_k, (batch, 4 or 12, y, x), in the order of NEIGHBOURS. damping: (batch, 1, y, x), of which no
            derivative is taken. substeps: (batch,), of each medium. beyond: what lies behind the low and the high side
            along y, then along x, in the numbers of BEYOND.
    """
    batch = max(len(state), len(links))
    state, links = state.expand(batch, -1, -1, -1), links.expand(batch, -1, -1, -1)
    damping = None if damping is None else damping.expand(batch, -1, -1, -1)
    return _Marched.apply(state, links, damping, substeps.expand(batch), beyond)  # type: ignore[no-any-return]


class _Marched(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        state: torch.Tensor,
        links: torch.Tensor,
        damping: torch.Tensor | None,
        substeps: torch.Tensor,
        beyond: tuple[int, ...],
    ) -> torch.Tensor:
        state, links = _in_pieces(state), _in_pieces(links)
        damping = None if damping is None else _in_pieces(damping)
        ctx.save_for_backward(state, links, damping, substeps)
        ctx.beyond, after = beyond, state.new_empty(state.shape)
        library = _library(links.shape[1], state.dtype)
        for k, (struct, _) in enumerate(_frames(state, links, damping, substeps, beyond)):
            library.there(ctypes.byref(struct), _at(state[k]), _at(after[k]))  # type: ignore[union-attr]
        return after

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, by_after: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        state, links, damping, substeps = ctx.saved_tensors
        by_state = by_after.clone(memory_format=torch.contiguous_format)
        by_links = links.new_zeros(links.shape) if ctx.needs_input_grad[1] else None
        library, scratch = _library(links.shape[1], state.dtype), torch.empty_like(state[0])
        for k, (struct, _) in enumerate(_frames(state, links, damping, substeps, ctx.beyond)):
            library.there(ctypes.byref(struct), _at(state[k]), _at(scratch))  # type: ignore[union-attr]
            by_these = None if by_links is None else _at(by_links[k])
            library.back(ctypes.byref(struct), _at(by_state[k]), by_these)  # type: ignore[union-attr]
        return by_state, by_links, None, None, None


def _frames(
    state: torch.Tensor,
    links: torch.Tensor,
    damping: torch.Tensor | None,
    substeps: torch.Tensor,
    beyond: tuple[int, ...],
) -> list[tuple[_Frame, list[torch.Tensor]]]:
    """A struct for each medium, with the tensors that it points to and nobody else holds; all in one workspace."""
    rows, columns = state.shape[-2:]
    reach = 1 if links.shape[1] == 4 else 2
    wide = (rows + 2 * reach, columns + 2 * reach)
    work = [state.new_empty(int(substeps.max()) + 1, *wide), state.new_empty(rows, columns), state.new_empty(wide)]
    return [
        (
            _Frame(
                rows,
                columns,
                int(substeps[k]),
                *beyond,
                _at(links[k]),
                None if damping is None else _at(damping[k]),
                *map(_at, work),
            ),
            work,
        )
        for k in range(len(state))
    ]


def _in_pieces(batch: torch.Tensor) -> torch.Tensor:
    """The same, each of the batch in one piece of memory; a slice of channels, or one for all, is already."""
    return batch if batch[0].is_contiguous() else batch.contiguous()


def _at(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
