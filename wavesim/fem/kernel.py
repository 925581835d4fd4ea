"""B p, and whole steps p <- p + d, d <- d - B' p of stepper.py, for B = h^2 M^-1 K: where the time goes.

    Grid       a rectangle: 4 w + 1 diagonals (diagonals.py); simulations of a batch one after another, in the cache;
               an absorbing layer is stepped element by element
    ByCells    a mesh of quadrilaterals, or averages on a rectangle, in single precision: element by element (cells.py),
               16 at a time
    Rows       any mesh: compressed rows; a batch together
    device.py  any mesh, by torch on another device

The loops are in kernel.c, compiled once a machine and degree (wavesim.compiled).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isqrt
from pathlib import Path

import numpy as np
from scipy import sparse

from wavesim.compiled import compiled
from wavesim.devices import require
from wavesim.fem import march
from wavesim.fem.absorbing import Layer
from wavesim.fem.cells import Cells, Groups, groups, lying, side_by_side, slopes
from wavesim.fem.device import OnDevice
from wavesim.fem.diagonals import Diagonals, find, repeated
from wavesim.fem.drive import Drive
from wavesim.fem.march import Motion
from wavesim.fem.rounding import single

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class StepByStep:
    """What all have: steps one by one, where there is a layer and no faster way."""

    layer: Layer | None = None

    def product(self, field: np.ndarray) -> np.ndarray:
        """B times a field (unknowns[, batch])."""
        raise NotImplementedError

    def absorbed(self, motion: Motion, steps: int, order: int) -> Motion:
        """The motion after so many steps with the layer."""
        return march.advance(self.product, motion, steps, order, self.layer)


@dataclass(frozen=True)
class Rows(StepByStep):
    """Any mesh. matrix: B, or h^2 K where scale = 1/M (unknowns, batch) multiplies its product."""

    matrix: sparse.csr_matrix
    scale: np.ndarray | None

    def product(self, field: np.ndarray) -> np.ndarray:
        """B times a field (unknowns[, batch])."""
        out = np.array(field, order="C")
        self._run(out, None, 0, 2)
        return out

    def advance(self, pressure: np.ndarray, increment: np.ndarray, steps: int, order: int) -> Pair:
        """p and d after so many steps."""
        p, d = np.array(pressure, order="C"), np.array(increment, order="C")
        self._run(p, d, steps, order)
        return p, d

    def _run(self, p: np.ndarray, d: np.ndarray | None, steps: int, order: int) -> None:
        m, batch = self.matrix, p.size // len(p)
        pointers = [_pointer(array) for array in (m.indptr, m.indices, m.data, self.scale, p, d)]
        sizes = (ctypes.c_long(len(p)), ctypes.c_long(batch))
        _check(_library(p.dtype.name).rows_advance(*sizes, *pointers, ctypes.c_long(steps), order))


@dataclass(frozen=True)
class _OneByOne(StepByStep):
    """Simulations of a batch one after another, in the cache; `_run` changes p and d, each (simulation, unknowns)."""

    def product(self, field: np.ndarray) -> np.ndarray:
        """B times a field (unknowns[, batch])."""
        out = _apart(field)
        self._run(out, None, 1, 2)
        return out.T.reshape(field.shape)

    def advance(self, pressure: np.ndarray, increment: np.ndarray, steps: int, order: int) -> Pair:
        """p and d after so many steps."""
        p, d = _apart(pressure), _apart(increment)
        self._run(p, d, steps, order)
        return p.T.reshape(pressure.shape), d.T.reshape(pressure.shape)

    def absorbed(self, motion: Motion, steps: int, order: int) -> Motion:
        """The motion after so many steps with the layer."""
        shape, flux = motion.pressure.shape, motion.later.shape
        p, d, before, later = (_apart(field) for field in motion.parts)
        p, d = self._laid(p), self._laid(d)
        tables = self._tables
        own = [tables[name] for name in ("decay", "gain", "scale", "keep", "kick", "pull")]
        shared = [_pointer(tables[name]) for name in ("node", "start", "place", "slope", "per_size", "weight")]
        for k in range(len(p)):
            layer = _Layer(len(tables["node"]), *shared, *(_pointer(array[k % len(array)]) for array in own))
            self._run_layer(k, layer, [_pointer(array[k]) for array in (p, d, before, later)], steps, order)
        p, d = self._given(p), self._given(d)
        return Motion(p.T.reshape(shape), d.T.reshape(shape), before.T.reshape(flux), later.T.reshape(flux))

    def _run(self, p: np.ndarray, d: np.ndarray | None, steps: int, order: int) -> None:
        raise NotImplementedError

    def _run_layer(self, number: int, layer: _Layer, fields: list[ctypes.c_void_p], steps: int, order: int) -> None:
        raise NotImplementedError

    @property
    def _order(self) -> np.ndarray | None:
        """Which unknown each number of a field in the loops is, -1 for none; None where they are the same."""
        return None

    def _laid(self, fields: np.ndarray) -> np.ndarray:
        """(simulation, unknowns) as the loops number them, 0 where there is none."""
        if self._order is None:
            return fields
        return np.take(np.append(fields, np.zeros((len(fields), 1), fields.dtype), axis=1), self._order, axis=1)

    def _given(self, fields: np.ndarray) -> np.ndarray:
        """(simulation, unknowns) of what the loops have made."""
        if self._order is None:
            return fields
        known = np.flatnonzero(self._order >= 0)
        made = np.empty((len(fields), len(known)), fields.dtype)
        made[:, self._order[known]] = fields[:, known]
        return made

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        """The layer as kernel.c reads it."""
        layer = self.layer
        assert layer is not None
        dtype, unknown, size = layer.keep.dtype, layer.unknown, len(layer.keep)
        if self._order is not None:
            number = np.empty(size + 1, int)
            number[self._order], size = np.arange(len(self._order)), len(self._order)
            number[-1] = size - 1  # a zero, as cells.py has it
            unknown = number[unknown]
        node, start, place = lying(unknown, size, dtype)
        own = {name: _apart(getattr(layer, name)) for name in ("decay", "gain")}
        own |= {name: self._laid(_apart(getattr(layer, name))) for name in ("scale", "keep", "kick", "pull")}
        slope = slopes(isqrt(layer.unknown.shape[1]) - 1, dtype)
        per_size = np.ascontiguousarray(side_by_side(1 / layer.size, 1, dtype), dtype)
        return {"node": node, "start": start, "place": place, "slope": slope, "per_size": per_size,
                "weight": layer.weight, **own}  # fmt: skip


@dataclass(frozen=True)
class Grid(_OneByOne):
    """A rectangle; with a layer or without."""

    diagonals: Diagonals

    def _run(self, p: np.ndarray, d: np.ndarray | None, steps: int, order: int) -> None:
        run = _library(p.dtype.name, self.diagonals.coupled.shape[1] // 2).grid_advance
        for k, pressure in enumerate(p):
            fields = [_pointer(array) for array in (pressure, None if d is None else d[k])]
            _check(run(ctypes.byref(self._layout(k, p.shape[1])), *fields, ctypes.c_long(steps), order))

    def _run_layer(self, number: int, layer: _Layer, fields: list[ctypes.c_void_p], steps: int, order: int) -> None:
        tables, m = self._tables, self.diagonals
        run = _library(m.scale.dtype.name, m.coupled.shape[1] // 2).grid_absorbed
        layout = self._layout(number, tables["keep"].shape[1])
        _check(run(ctypes.byref(layout), ctypes.byref(layer), *fields, ctypes.c_long(steps), order))

    def _layout(self, number: int, unknowns: int) -> _Layout:
        m = self.diagonals
        rows, width = m.coupled.shape[0], m.coupled.shape[1] // 2
        sizes = (rows, unknowns // rows, rows if m.cyclic else width, m.along.shape[-1], m.along.ndim == 3)
        begin, end, shared = self._shared
        arrays = (m.along, m.across, m.coupled, m.scale[number % len(m.scale)], shared)
        return _Layout(*sizes, begin, end, *(_pointer(array) for array in arrays))

    @cached_property
    def _shared(self) -> tuple[int, int, np.ndarray | None]:
        return repeated(self.diagonals.along)


@dataclass(frozen=True)
class ByCells(_OneByOne):
    """A mesh of quadrilaterals, element by element; with a layer or without."""

    groups: Groups

    def _run(self, p: np.ndarray, d: np.ndarray | None, steps: int, order: int) -> None:
        run = _library(p.dtype.name, len(self.groups.slope) - 1).cells_advance
        for k, pressure in enumerate(p):
            fields = [_pointer(array) for array in (pressure, None if d is None else d[k])]
            _check(run(ctypes.byref(self._layout(k)), *fields, ctypes.c_long(steps), order))

    def _run_layer(self, number: int, layer: _Layer, fields: list[ctypes.c_void_p], steps: int, order: int) -> None:
        run = _library(self.groups.scale.dtype.name, len(self.groups.slope) - 1).cells_absorbed
        layout = self._layout(number)
        _check(run(ctypes.byref(layout), ctypes.byref(layer), *fields, ctypes.c_long(steps), order))

    @property
    def _order(self) -> np.ndarray:
        return self.groups.order

    def _layout(self, number: int) -> _Groups:
        m = self.groups
        tables = [_pointer(array) for array in (m.slope, m.metric, m.rim, m.pair, m.start, m.place)]
        scale = _pointer(m.scale[number % len(m.scale)])
        return _Groups(len(m.rim), len(m.pair), len(m.start) - 1, *tables, scale, _pointer(m.order))


class _Groups(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("groups", "edges", "others")),
        *((name, ctypes.c_void_p) for name in ("slope", "metric", "rim", "pair", "start", "place", "scale", "order")),
    ]


class _Layer(ctypes.Structure):
    _fields_ = [
        ("groups", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in ("node", "start", "place", "slope", "per_size", "weight")),
        *((name, ctypes.c_void_p) for name in ("decay", "gain", "scale", "keep", "kick", "pull")),
    ]


class _Layout(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "lag", "stride", "own", "from", "until")),
        *((name, ctypes.c_void_p) for name in ("along", "across", "coupled", "scale", "shared")),
    ]


def _pointer(array: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def _apart(field: np.ndarray) -> np.ndarray:
    """A copy (simulation, unknowns) of a field (unknowns[, batch])."""
    return np.array(field.T, order="C", ndmin=2)


def _check(short_of_memory: int) -> None:
    if short_of_memory:
        raise MemoryError("a step needs as much memory again as its field")


@lru_cache
def _library(precision: str, width: int = 1) -> ctypes.CDLL:
    """kernel.c for a precision and a degree."""
    real = {"float32": "float", "float64": "double"}[precision]
    return compiled(Path(__file__).with_name("kernel.c"), REAL=real, WIDTH=width)


Loops = Grid | Rows | ByCells | OnDevice


def build(
    matrix: sparse.csr_matrix,
    scale: np.ndarray | None,
    mass: np.ndarray,
    time_step: float,
    dtype: type,
    cells: Cells | None = None,
    device: str | None = None,
    layer: Layer | None = None,
    drive: Drive | None = None,
) -> Loops:
    """The fastest loops for B = matrix, or scale * matrix where scale = 1/M, in a precision.

    Double precision keeps to the entries of K, single precision to what they are made of where that is known.

    Args:
        mass: M (unknowns[, batch]). cells: of the mesh. device: of torch; left out, the loops that are compiled here.
    """
    if device is None:
        if (diagonals := find(matrix, scale, mass, np.dtype(dtype))) is not None:
            return Grid(diagonals, layer=layer)
        if cells is not None and dtype == np.float32:
            return ByCells(groups(cells, np.atleast_2d(time_step**2 / mass.T), np.dtype(dtype)), layer=layer)
    if dtype == np.float32:
        matrix = single(matrix, mass if scale is None else np.ones(len(mass)))
    scale = None if scale is None else scale.astype(dtype)
    if device is None:
        return Rows(matrix, scale, layer=layer)
    require(device)
    return OnDevice(matrix, scale, device, layer, drive)
