"""A gated forecaster run by loops in C (loops.c): the whole frame in one pass over the rows, nothing allocated.

    model = CompiledForecaster(load("compressed.safetensors"))
    forecast = rollout(model, state, medium, frames=64)
ONNX Runtime spends more than half of a frame between convolutions, on mirrored edges, gates and layouts. Here a row
goes through gate, 1 x 1, both axis filters, 1 x 1 and the next layer while it is in the cache. Any grid; a batch one by
one.
"""

from __future__ import annotations

import copy
import ctypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from wavesim.compiled import compiled
from wavesim.errors import WavesimError
from wavesim.surrogate.layers import CPConvolution
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.networks.gated import Gated


class _Layer(ctypes.Structure):
    _fields_ = [
        ("rank", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in ("gate", "inward", "along", "outward", "ring")),
    ]


class _Frame(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "stride", "width", "layers", "substeps")),
        ("budget", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("stencil", "softness", "stem", "head", "before", "after", "hidden")),
        *((name, ctypes.c_void_p) for name in ("spare", "layer")),
    ]


@dataclass(frozen=True)
class _Bound:
    """A medium with its workspace. arrays: what `frame` points to, so that it lives as long."""

    frame: _Frame
    arrays: list[object]


class CompiledForecaster:
    """A trained forecaster in compiled loops; goes wherever a Forecaster goes in `rollout`.

    Raises:
        WavesimError: no C compiler, or a forecaster that the loops do not know: they know gated networks between rigid
            walls, one frame a call; one-way filters (cp) as they are, all others as dense kernels.
    """

    def __init__(self, model: Forecaster, precision: Literal["float32", "bfloat16"] = "float32"):
        if not model.config.conserve_energy:
            raise WavesimError("only forecasters with conserve_energy are compiled: one without it can blow up")
        self._refuse_others(model)
        self.model = copy.deepcopy(model).eval().cpu()
        self.courant, self.precision = model.courant, precision
        half: dict[str, int] = {}
        if precision == "bfloat16":
            if not multiplies_bfloat16():
                raise WavesimError("this processor does not multiply bfloat16 (AVX512-BF16): use precision float32")
            half = {"HALF": 1}
        self._library = compiled(Path(__file__).with_name("loops.c"), TAPS=model.config.kernel_size, **half)
        self._lanes, self._outputs, most = (
            ctypes.c_long.in_dll(self._library, name).value for name in ("lanes", "outputs", "most")
        )
        self._parts = self._packed()
        largest = max((self._width, *(inputs for _, inputs, *_ in self._parts)))
        if largest > most:
            raise WavesimError(f"a filter adds up {largest} fields, and the loops know {most}: use fewer channels")
        if model.config.kernel_size > 2 * self._lanes + 1:
            raise WavesimError(
                f"the loops know filters of {2 * self._lanes + 1} taps here, not {model.config.kernel_size}: use a "
                "smaller kernel_size, ONNX Runtime or PyTorch"
            )

    def start(self, state: np.ndarray, medium: np.ndarray, budget: float | None = None) -> list[_Bound]:
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
            budgets = self.model.budget(torch.from_numpy(state), context).flatten()
        gates = torch.cat(context.seen, dim=1) if self._network else context.medium[:, :0]
        parts = [np.broadcast_to(part.numpy(), (len(state), *part.shape[1:]))
                 for part in (context.medium, context.stencil, gates)]  # fmt: skip
        own = [float(one) if budget is None else budget for one in budgets]
        return [self._bound([part[k] for part in parts], own[k]) for k in range(len(state))]

    def advance(self, state: np.ndarray, context: list[_Bound], out: np.ndarray | None = None) -> np.ndarray:
        """The states one frame later, (batch, 1, 2, y, x); in `out` where one is given: nothing is allocated.

        A context is a workspace: one thread at a time.
        Raises:
            WavesimError: states of another grid or number than the context was made for, or `out` of another kind.
        """
        shape = (len(context), 1, 2, *((context[0].frame.rows, context[0].frame.columns) if context else ()))
        out = np.empty(shape, np.float32) if out is None else out
        fits = out.shape == shape and out.dtype == np.float32 and out.flags.c_contiguous
        if (len(state), 1, *state.shape[1:]) != shape or not fits:  # C writes wherever it is told
            raise WavesimError(
                f"state {state.shape} into {out.shape} {out.dtype}: this context takes states of "
                f"{(shape[0], *shape[2:])}, and `out` as {shape} float32 in one piece"
            )
        np.copyto(out[:, 0], state)
        for own, bound in zip(out, context, strict=True):
            self._library.advance(ctypes.byref(bound.frame), ctypes.c_void_p(own.ctypes.data))
        return out

    @staticmethod
    def _refuse_others(model: Forecaster) -> None:
        config = model.config
        if config.ranks and config.network != "gated":
            raise WavesimError(f"the loops know gated networks, not '{config.network}': use ONNX Runtime or PyTorch")
        if set(config.sides) != {"rigid"} or config.bundle > 1:
            raise WavesimError(
                f"the loops know rigid walls and one frame a call, not sides {', '.join(config.sides)} and bundle "
                f"{config.bundle}: use ONNX Runtime or PyTorch"
            )

    @cached_property
    def _width(self) -> int:
        return self._padded(self.model.config.width) if self._network else 0

    @property
    def _network(self) -> Gated | None:
        network = self.model.network
        assert network is None or isinstance(network, Gated)
        return network

    def _padded(self, count: int) -> int:
        return -(-count // self._outputs) * self._outputs

    def _packed(self) -> list[tuple[int, int, np.ndarray | None, np.ndarray | None, np.ndarray]]:
        """Of each layer: rank, inputs of its last map, inward, along, outward, as loops.c has them."""
        parts: list[tuple[int, int, np.ndarray | None, np.ndarray | None, np.ndarray]] = []
        for layer in self._network.filters_of(self._network.filters) if self._network else ():
            if isinstance(layer, CPConvolution) and [stage.axes for stage in layer.stages] == [(), (0, 1), ()]:
                reading, _, writing = layer.stages
                rank = self._padded(layer.rank)
                inward = self._filter(layer.stage_kernel(reading)[..., 0, 0], rank, self._width)
                own = torch.cat([layer.get_parameter(name).flatten(1) for name in ("along_x", "along_y")], dim=1)
                along = np.zeros((rank, own.shape[1]), np.float32)
                along[: len(own)] = own.detach().numpy()
                outward = self._filter(layer.stage_kernel(writing)[..., 0, 0], self._width, rank)
                parts.append((rank, rank, inward, along, outward))
            else:  # whatever else, as the dense kernel that it is
                dense = layer.kernel().flatten(2)
                outward = self._filter(dense, self._width, self._width)
                parts.append((0, self._width * dense.shape[2], None, None, outward))
        return parts

    def _map(self, weights: torch.Tensor, outs: int, inputs: int) -> np.ndarray:
        """(out, in), filled up with zeros, as (block of outputs, in, output of the block)."""
        full = np.zeros((outs, inputs), np.float32)
        full[: len(weights), : weights.shape[1]] = weights.detach().numpy()
        return np.ascontiguousarray(full.reshape(-1, self._outputs, inputs).swapaxes(1, 2))

    def _filter(self, weights: torch.Tensor, outs: int, channels: int) -> np.ndarray:
        """(out, in[, taps]) as `_map` has (out, in taps); in half precision pairs of channels, (out, in / 2 taps)."""
        taps = weights.shape[2] if weights.ndim == 3 else 1
        full = torch.zeros(outs, channels, taps)
        full[: len(weights), : weights.shape[1]] = weights.detach().reshape(*weights.shape[:2], taps)
        if self.precision == "float32":
            return self._map(full.flatten(1), outs, channels * taps)
        pairs = full.bfloat16().reshape(outs, channels // 2, 2, taps).swapaxes(2, 3).reshape(-1).view(torch.int32)
        packed = pairs.numpy().reshape(-1, self._outputs, channels // 2 * taps)
        return np.ascontiguousarray(packed.swapaxes(1, 2))

    def _bound(self, parts: list[np.ndarray], budget: float) -> _Bound:
        medium, stencil, gates = parts
        rows, columns = medium.shape[-2:]
        stride = -(-columns // self._lanes) * self._lanes
        pitch, width, model = stride + 2 * self._lanes, self._width, self.model
        depth = len(self._parts)
        gate = _zeros(depth, width, rows, stride)
        if depth:
            gate[:, : model.config.width, :, :columns] = gates.reshape(depth, -1, rows, columns)
        layers = (_Layer * depth)()
        arrays: list[object] = [layers, gate]
        for k, (rank, _, inward, along, outward) in enumerate(self._parts):
            ring = _zeros(model.config.kernel_size, rank or width, pitch)
            layers[k] = _Layer(rank, *(_pointer(part) for part in (gate[k], inward, along, outward, ring)))
            arrays.append(ring)
        faces, softness = _zeros(4, rows, stride), _zeros(rows, stride)
        faces[..., :columns], softness[:, :columns] = stencil, 1 / medium[0]
        stem = self._map(self._network.stem.weight[..., 0, 0], width, 4) if self._network else None
        head = self._map(self._network.head.weight[..., 0, 0], self._outputs, width) if self._network else None
        widest = width + max((rank for rank, *_ in self._parts), default=0) + self._outputs
        work = [
            _zeros(2, rows, stride),
            _zeros(2, rows + 2, pitch),
            _zeros(width, rows, stride),
            _zeros(widest, stride),
        ]
        tables = [faces, softness, stem, head, *work]
        sizes = (rows, columns, stride, width, depth, model.config.substeps)
        frame = _Frame(*sizes, budget, *map(_pointer, tables), ctypes.addressof(layers))
        return _Bound(frame, [*arrays, *tables])


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

    def start(self, state: np.ndarray, medium: np.ndarray) -> tuple[list[_Bound], np.ndarray]:
        """As CompiledForecaster; the state that is given is only read."""
        return self._loops.start(state, medium), np.empty((2, len(state), 1, *state.shape[1:]), np.float32)

    def advance(self, state: np.ndarray, context: tuple[list[_Bound], np.ndarray]) -> np.ndarray:
        """As CompiledForecaster, in the array that does not hold `state`."""
        bound, (one, other) = context
        return self._loops.advance(state, bound, other if np.may_share_memory(state, one) else one)


def multiplies_bfloat16() -> bool:
    """Whether this processor has AVX512-BF16."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


def _zeros(*shape: int) -> np.ndarray:
    """Float32, beginning with a cache line."""
    size = int(np.prod(shape))
    whole = np.zeros(size + 16, np.float32)
    first = -whole.ctypes.data % 64 // 4
    return whole[first : first + size].reshape(shape)


def _pointer(array: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)
