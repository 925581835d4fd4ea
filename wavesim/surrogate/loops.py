"""A gated forecaster run by loops in C (loops.c): the whole frame in one pass over the rows, nothing allocated.

    model = CompiledForecaster(load("compressed.safetensors"))
    forecast = rollout(model, state, medium, frames=64)
ONNX Runtime spends more than half of a frame between convolutions, on mirrored edges, gates and layouts. Here a row
goes through gate, 1 x 1, both axis filters, 1 x 1 and the next layer while it is in the cache. Any grid; a batch one by
one.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

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
        WavesimError: no C compiler, or a forecaster that the loops do not know.
    """

    def __init__(self, model: Forecaster, precision: Literal["float32", "bfloat16"] = "float32"):
        if not model.config.conserve_energy:
            raise WavesimError("only forecasters with conserve_energy are compiled: one without it can blow up")
        config = model.config
        known = config.network == "gated" and config.convolution in ("classical", "one-way") and config.bundle == 1
        if (config.ranks and not known) or set(config.sides) != {"rigid"}:
            raise WavesimError(
                "the loops know network 'gated' with 'classical' or 'one-way' filters, one frame a call, between rigid "
                f"sides, and got a {config.kind} forecaster, {config.bundle} a call, between "
                f"{', '.join(config.sides)}: export it to ONNX"
            )
        self.model = model.eval().cpu()
        self.precision = precision
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
        largest = max((inputs for _, inputs, *_ in self._parts), default=0)
        if largest > most:
            raise WavesimError(f"a filter adds up {largest} fields, and the loops know {most}: use fewer channels")

    def start(self, state: np.ndarray, medium: np.ndarray) -> list[_Bound]:
        """The workspaces of media (1 or batch, 2, y, x) for states (batch, 2, y, x)."""
        with torch.no_grad():
            states, media = torch.from_numpy(state), torch.from_numpy(medium)
            context = self.model.encode(media)
            self.model.coarse.check(context.stencil)
            budgets = self.model.budget(states, context).flatten()
        # The coarse step alone has no gates.
        parts = (context.medium, context.stencil, *(context.seen or (torch.zeros(1),)))
        media_of, stencils, gates = (np.broadcast_to(part.numpy(), (len(state), *part.shape[1:])) for part in parts)
        return [self._bound(media_of[k], stencils[k], gates[k], float(budgets[k])) for k in range(len(state))]

    def advance(self, state: np.ndarray, context: list[_Bound], out: np.ndarray | None = None) -> np.ndarray:
        """The states one frame later, (batch, frame, 2, y, x) of one frame.

        Into `out` (batch, 2, y, x) where one is given, and then nothing is allocated.
        """
        out = np.empty_like(state, order="C") if out is None else out
        np.copyto(out, state)
        for own, bound in zip(out, context, strict=True):
            self._library.advance(ctypes.byref(bound.frame), ctypes.c_void_p(own.ctypes.data))
        return out[:, None]

    @cached_property
    def _width(self) -> int:
        return self._padded(self.model.config.width) if self.model.config.ranks else 0

    def _padded(self, count: int) -> int:
        return -(-count // self._outputs) * self._outputs

    def _packed(self) -> list[tuple[int, int, np.ndarray | None, np.ndarray | None, np.ndarray]]:
        """Of each layer: rank, inputs of its last map, inward, along, outward, as loops.c has them."""
        parts: list[tuple[int, int, np.ndarray | None, np.ndarray | None, np.ndarray]] = []
        network = cast(Gated | None, self.model.network)
        for layer in network.filters_of(network.filters) if network else ():
            if isinstance(layer, CPConvolution):
                rank = self._padded(layer.rank)
                inward = self._filter(layer.get_parameter("inward")[..., 0, 0], rank, self._width)
                axes = [layer.get_parameter(f"along_{axis}").flatten(1) for axis in "xy"]
                own = torch.cat(axes, dim=1).detach().numpy()
                along = np.zeros((rank, own.shape[1]), np.float32)
                along[: len(own)] = own
                outward = self._filter(layer.get_parameter("outward")[..., 0, 0], self._width, rank)
                parts.append((rank, rank, inward, along, outward))
            else:
                kernel = layer.kernel()
                dense = self._filter(kernel.flatten(2), self._width, self._width)
                parts.append((0, self._width * kernel[0, 0].numel(), None, None, dense))
        return parts

    def _map(self, weights: torch.Tensor, outs: int, inputs: int) -> np.ndarray:
        """(out, in), filled up with zeros, as (block of outputs, in, output of the block)."""
        full = np.zeros((outs, inputs), np.float32)
        full[: len(weights), : weights.shape[1]] = weights.detach().numpy()
        return np.ascontiguousarray(full.reshape(-1, self._outputs, inputs).swapaxes(1, 2))

    def _filter(self, weights: torch.Tensor, outs: int, channels: int) -> np.ndarray:
        """(out, in[, taps]) as `_map` has (out, in taps); in bfloat16 (out, in / 2 taps), of pairs of channels."""
        taps = weights.shape[2] if weights.ndim == 3 else 1
        full = torch.zeros(outs, channels, taps)
        full[: len(weights), : weights.shape[1]] = weights.detach().reshape(*weights.shape[:2], taps)
        if self.precision == "float32":
            return self._map(full.flatten(1), outs, channels * taps)
        pairs = full.bfloat16().reshape(outs, channels // 2, 2, taps).swapaxes(2, 3).reshape(-1).view(torch.int32)
        packed = pairs.numpy().reshape(-1, self._outputs, channels // 2 * taps)
        return np.ascontiguousarray(packed.swapaxes(1, 2))

    def _bound(self, medium: np.ndarray, stencil: np.ndarray, gates: np.ndarray, budget: float) -> _Bound:
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
        network = cast(Gated, model.network)
        stem = self._map(network.stem.weight[..., 0, 0], width, 4) if depth else None
        head = self._map(network.head.weight[..., 0, 0], self._outputs, width) if depth else None
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
