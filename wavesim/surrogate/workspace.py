"""What compiled loops compute in: arrays that begin with a cache line, and the struct that points to them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Bound:
    """A medium with its workspace. frame: a struct with `rows` and `columns`; arrays: what it points to, so that these
    live as long."""

    frame: Any
    arrays: list[object]


def zeros(*shape: int) -> np.ndarray:
    """Float32, beginning with a cache line."""
    size = int(np.prod(shape))
    whole = np.zeros(size + 16, np.float32)
    first = -whole.ctypes.data % 64 // 4
    return whole[first : first + size].reshape(shape)


def pointer(array: np.ndarray | None) -> ctypes.c_void_p:
    """To its first number; null for none."""
    return ctypes.c_void_p(None if array is None else array.ctypes.data)
