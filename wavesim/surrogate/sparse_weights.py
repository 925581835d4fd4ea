"""Weights with many zeros, stored without them: which are not zero, one bit each, and those values in order.

    bytes of n numbers, k of them not zero:    4 n + names   dense,    ceil(n/8) + w k   without zeros
n counts all numbers of single precision of the network; w is 2 where each value is one of half precision too, else 4.
What makes the smaller file, not by its names alone, is taken:
    NAME ...            dense: each tensor of its shape
    nonzero, values     without zeros: the bits, uint8, and the k values; number i is bit i % 8, counted from the
                        lowest, of byte i // 8. Numbers are those of all tensors, flat, one after the other in the order
                        of their names; names and shapes are those that the settings in the file's header say
What is not of single precision, such as counters, is stored dense either way. Zero is what has no bit set: -0.0 is a
value, so that what is read is what was written, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from safetensors.torch import save

from wavesim.errors import WavesimError

BITS, VALUES = "nonzero", "values"


def packed(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of the processor's memory in the smaller form, under the names of the file.

    Raises:
        WavesimError: a name that means bits or values.
    """
    if taken := {BITS, VALUES} & weights.keys():
        raise WavesimError(f"a parameter named {taken.pop()} cannot be stored: it means what is not zero; rename it")
    dense = {name: tensor.contiguous() for name, tensor in weights.items()}
    single = [dense[name].flatten() for name in sorted(dense) if dense[name].dtype == torch.float32]
    if not single:
        return dense
    numbers = torch.cat(single)
    kept = numbers.view(torch.int32) != 0
    values, half = numbers[kept], numbers[kept].half()
    sparse = {name: tensor for name, tensor in dense.items() if tensor.dtype != torch.float32}
    sparse[BITS] = torch.from_numpy(np.packbits(kept.numpy(), bitorder="little"))
    sparse[VALUES] = half if torch.equal(half.float(), values) else values
    smaller = all(size(sparse) < size(dense) for size in (_data, lambda tensors: len(save(tensors))))
    return sparse if smaller else dense


def unpacked(stored: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The dense tensors of a file; `shapes` are those of its settings.

    Raises:
        WavesimError: bits without values or values without bits, of another number than the shapes', or bits that mark
            more or fewer values than there are.
    """
    dense = {name: tensor for name, tensor in stored.items() if name not in (BITS, VALUES)}
    if len(dense) == len(stored):
        return dense
    for name in (BITS, VALUES):
        if name not in stored:
            raise WavesimError(f"it has no '{name}', without which the others say nothing")
    names = sorted(shapes.keys() - dense.keys())
    counts = [math.prod(shapes[name]) for name in names]
    bits, values, count = stored[BITS], stored[VALUES], sum(counts)
    if bits.dtype != torch.uint8 or bits.shape != (math.ceil(count / 8),):
        raise WavesimError(
            f"'{BITS}' is {_told(bits)}; the {count} numbers that the settings say take {math.ceil(count / 8)} of uint8"
        )
    kept = torch.from_numpy(np.unpackbits(bits.numpy(), bitorder="little").astype(bool))
    if values.shape != (int(kept.sum()),) or kept[count:].any():
        raise WavesimError(f"'{VALUES}' is {_told(values)}; '{BITS}' marks {int(kept.sum())} of {count}")
    numbers = torch.zeros(count)
    numbers[kept[:count]] = values.float()
    parts = zip(names, numbers.split(counts), strict=True)
    return dense | {name: part.reshape(shapes[name]) for name, part in parts}


def _data(tensors: Mapping[str, torch.Tensor]) -> int:
    """Bytes without names: those of the names alone are no reason to give them up."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _told(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
