"""The loops of a gated forecaster (gated_loops.c): coarse step, network and energy in one pass over the rows.

A row goes through gate, 1 x 1, both axis filters, 1 x 1 and the next layer while it is in the cache. One-way filters
(cp) run as they are, all others as dense kernels.
"""

from __future__ import annotations

import ctypes
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from wavesim.compiled import compiled
from wavesim.errors import WavesimError
from wavesim.surrogate.layers import CPConvolution
from wavesim.surrogate.models import Context, Forecaster
from wavesim.surrogate.networks.gated import Gated
from wavesim.surrogate.workspace import Bound, pointer, zeros


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


class GatedLoops:
    """The library for a forecaster with a gated network, and what it takes of its weights.

    Raises:
        WavesimError: no C compiler, sides that are not rigid, or filters that are too many or too long.
    """

    def __init__(self, model: Forecaster, precision: Literal["float32", "bfloat16"]):
        if set(model.config.sides) != {"rigid"}:
            raise WavesimError(
                f"the loops know gated networks between rigid walls, not sides {', '.join(model.config.sides)}: use "
                "ONNX Runtime or PyTorch"
            )
        self.model, self.precision = model, precision
        half = {"HALF": 1} if precision == "bfloat16" else {}
        self.library = compiled(Path(__file__).with_name("gated_loops.c"), TAPS=model.config.kernel_size, **half)
        self._lanes, self._outputs, most = (
            ctypes.c_long.in_dll(self.library, name).value for name in ("lanes", "outputs", "most")
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

    @cached_property
    def _width(self) -> int:
        return self._padded(self.model.config.width)

    @property
    def _network(self) -> Gated:
        network = self.model.network
        assert isinstance(network, Gated)
        return network

    def _padded(self, count: int) -> int:
        return -(-count // self._outputs) * self._outputs

    def _packed(self) -> list[tuple[int, int, np.ndarray | None, np.ndarray | None, np.ndarray]]:
        """Of each layer: rank, inputs of its last map, inward, along, outward, as loops.c has them."""
        parts: list[tuple[int, int, np.ndarray | None, np.ndarray | None, np.ndarray]] = []
        for layer in self._network.filters_of(self._network.filters):
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

    def bound(self, context: Context, budget: float) -> Bound:
        """A workspace for the one medium of `context`."""
        medium, stencil, gates = (part[0].numpy() for part in (context.medium, context.stencil, context.seen[0]))
        rows, columns = medium.shape[-2:]
        stride = -(-columns // self._lanes) * self._lanes
        pitch, width, model = stride + 2 * self._lanes, self._width, self.model
        depth = len(self._parts)
        gate = zeros(depth, width, rows, stride)
        gate[:, : model.config.width, :, :columns] = gates.reshape(depth, -1, rows, columns)
        layers = (_Layer * depth)()
        arrays: list[object] = [layers, gate]
        for k, (rank, _, inward, along, outward) in enumerate(self._parts):
            ring = zeros(model.config.kernel_size, rank or width, pitch)
            layers[k] = _Layer(rank, *(pointer(part) for part in (gate[k], inward, along, outward, ring)))
            arrays.append(ring)
        faces, softness = zeros(4, rows, stride), zeros(rows, stride)
        faces[..., :columns], softness[:, :columns] = stencil, 1 / medium[0]
        stem = self._map(self._network.stem.weight[..., 0, 0], width, 4)
        head = self._map(self._network.head.weight[..., 0, 0], self._outputs, width)
        widest = width + max((rank for rank, *_ in self._parts), default=0) + self._outputs
        work = [
            zeros(2, rows, stride),
            zeros(2, rows + 2, pitch),
            zeros(width, rows, stride),
            zeros(widest, stride),
        ]
        tables = [faces, softness, stem, head, *work]
        sizes = (rows, columns, stride, width, depth, model.config.substeps)
        frame = _Frame(*sizes, budget, *map(pointer, tables), ctypes.addressof(layers))
        return Bound(frame, [*arrays, *tables])
