"""A gated network as the loops of cascade.h have it: its maps packed in blocks, and fields to compute in."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from wavesim.errors import WavesimError
from wavesim.surrogate.layers import CPConvolution
from wavesim.surrogate.networks.gated import Gated
from wavesim.surrogate.workspace import pointer, zeros


class _Layer(ctypes.Structure):
    _fields_ = [
        ("rank", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in ("gate", "inward", "along", "outward", "ring")),
    ]


class Cascade(ctypes.Structure):
    """Of a medium; `layer` points to as many as `layers` says."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "stride", "width", "layers")),
        *((name, ctypes.c_void_p) for name in ("stem", "head", "hidden", "spare", "layer")),
    ]


@dataclass(frozen=True)
class _Part:
    """Of a layer: rank, 0 of a dense kernel; how many fields its last map adds up; its maps."""

    rank: int
    inputs: int
    inward: np.ndarray | None
    along: np.ndarray | None
    outward: np.ndarray


class Packed:
    """The weights of a network for a library that was compiled with its taps.

    Attributes:
        lanes: numbers in a vector, which rows are filled up to.
    Raises:
        WavesimError: filters that are too many or too long.
    """

    def __init__(self, network: Gated, library: ctypes.CDLL, precision: Literal["float32", "bfloat16"] = "float32"):
        self._network, self._precision = network, precision
        self.lanes, self._outputs, most = (
            ctypes.c_long.in_dll(library, name).value for name in ("lanes", "outputs", "most")
        )
        taps = network.config.kernel_size
        self._width = self._padded(network.config.width)
        self._parts = [self._part(layer) for layer in network.filters_of(network.filters)]
        largest = max(self._width, *(part.inputs for part in self._parts))
        if largest > most:
            raise WavesimError(f"a filter adds up {largest} fields, and the loops know {most}: use fewer channels")
        if taps > 2 * self.lanes + 1:
            raise WavesimError(
                f"the loops know filters of {2 * self.lanes + 1} taps here, not {taps}: use a smaller kernel_size, "
                "ONNX Runtime or PyTorch"
            )

    def cascade(self, gates: np.ndarray) -> tuple[Cascade, list[object]]:
        """The network with these gates (layers * width, y, x), and what it points to."""
        gate = self._gates(gates)
        (rows, columns), stride, depth = gates.shape[-2:], gate.shape[-1], len(self._parts)
        layers = (_Layer * depth)()
        arrays: list[object] = [layers, gate]
        for k, part in enumerate(self._parts):
            ring = zeros(self._network.config.kernel_size, part.rank or self._width, stride + 2 * self.lanes)
            tables = (gate[k], part.inward, part.along, part.outward, ring)
            layers[k] = _Layer(part.rank, *map(pointer, tables))
            arrays += tables
        widest = self._width + max(part.rank for part in self._parts) + self._outputs
        stem, head = self._network.stem.weight[..., 0, 0], self._network.head.weight[..., 0, 0]
        own = [
            self._map(stem, self._width, stem.shape[1]),
            self._map(head, self._outputs, self._width),
            zeros(self._width, rows, stride),
            zeros(widest, stride),
        ]
        sizes = (rows, columns, stride, self._width, depth)
        return Cascade(*sizes, *map(pointer, own), ctypes.addressof(layers)), [*arrays, *own]

    def _padded(self, count: int) -> int:
        return -(-count // self._outputs) * self._outputs

    def _gates(self, gates: np.ndarray) -> np.ndarray:
        """(layers, width, y, stride)."""
        rows, columns = gates.shape[-2:]
        full = zeros(len(self._parts), self._width, rows, -(-columns // self.lanes) * self.lanes)
        full[:, : self._network.config.width, :, :columns] = gates.reshape(len(self._parts), -1, rows, columns)
        return full

    def _part(self, layer: torch.nn.Module) -> _Part:
        if not isinstance(layer, CPConvolution) or [stage.axes for stage in layer.stages] != [(), (0, 1), ()]:
            dense = layer.kernel().flatten(2)  # type: ignore[operator]
            outward = self._filter(dense, self._width, self._width)
            return _Part(0, self._width * dense.shape[2], None, None, outward)
        rank, (first, _, last) = self._padded(layer.rank), layer.stages
        reading, writing = (layer.stage_kernel(stage)[..., 0, 0] for stage in (first, last))
        own = torch.cat([layer.get_parameter(name).flatten(1) for name in ("along_x", "along_y")], dim=1)
        along = np.zeros((rank, own.shape[1]), np.float32)
        along[: len(own)] = own.detach().numpy()
        inward, outward = self._filter(reading, rank, self._width), self._filter(writing, self._width, rank)
        return _Part(rank, rank, inward, along, outward)

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
        if self._precision == "float32":
            return self._map(full.flatten(1), outs, channels * taps)
        pairs = full.bfloat16().reshape(outs, channels // 2, 2, taps).swapaxes(2, 3).reshape(-1).view(torch.int32)
        packed = pairs.numpy().reshape(-1, self._outputs, channels // 2 * taps)
        return np.ascontiguousarray(packed.swapaxes(1, 2))
