"""Weights with many zeros, stored without them: which are not zero, one bit each, and those values in order.

    bytes of n values of w bytes each, k of them not zero:    n w   dense,    ceil(n/8) + k w + table   sparse
`table` is what one more entry in the file's table of names takes. Each tensor is stored in the smaller form:
    NAME                    dense, of its shape
    NAME, NAME.nonzero      sparse: the k values, flat, and the bits as uint8; value i is bit i % 8, counted from the
                            lowest, of byte i // 8
The shape of a sparse tensor is the one that the settings in the file's header say. Zero is what has no bit set: -0.0 is
a value, so that what is read is what was written, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from wavesim.errors import WavesimError

SUFFIX = ".nonzero"
TABLE = 80  # `"NAME.nonzero":{"dtype":"U8","shape":[N],"data_offsets":[A,B]},` without NAME is 56, and the digits


def packed(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every tensor of the processor's memory in its smaller form, under the names of the file.

    Raises:
        WavesimError: a name that means the bits of another tensor.
    """
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if name.endswith(SUFFIX):
            raise WavesimError(f"a parameter named {name} cannot be stored: '{SUFFIX}' marks bits; name it otherwise")
        flat = tensor.contiguous().flatten()
        width = flat.element_size()
        kept = (flat.view(torch.uint8).reshape(-1, width) != 0).any(dim=1)
        if math.ceil(len(flat) / 8) + int(kept.sum()) * width + TABLE + len(name) < len(flat) * width:
            bits = np.packbits(kept.numpy(), bitorder="little")
            stored |= {name: flat[kept], name + SUFFIX: torch.from_numpy(bits)}
        else:
            stored[name] = tensor.contiguous()
    return stored


def unpacked(stored: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The dense tensors of a file; `shapes` are those of its settings.

    Raises:
        WavesimError: bits without values or of no known tensor, of another number than the shape's, or that mark more
            or fewer values than there are.
    """
    dense = {name: tensor for name, tensor in stored.items() if not name.endswith(SUFFIX)}
    for marked in sorted(stored.keys() - dense.keys()):
        name = marked.removesuffix(SUFFIX)
        if name not in dense or name not in shapes:
            raise WavesimError(f"{marked} marks the values of {name}, which {_missing(name, dense)}")
        bits, values, count = stored[marked], dense[name], math.prod(shapes[name])
        if bits.dtype != torch.uint8 or bits.shape != (math.ceil(count / 8),):
            raise WavesimError(
                f"{marked} is {_told(bits)}; the {count} values that the settings say of {name} take "
                f"{math.ceil(count / 8)} of uint8"
            )
        kept = torch.from_numpy(np.unpackbits(bits.numpy(), bitorder="little").astype(bool))
        if values.shape != (int(kept.sum()),) or kept[count:].any():
            raise WavesimError(f"{name} is {_told(values)}; {marked} marks {int(kept.sum())} of {count} values")
        flat = torch.zeros(count, dtype=values.dtype)
        flat[kept[:count]] = values
        dense[name] = flat.reshape(shapes[name])
    return dense


def _missing(name: str, dense: Mapping[str, torch.Tensor]) -> str:
    return "the file's settings do not have" if name in dense else "the file does not hold"


def _told(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
