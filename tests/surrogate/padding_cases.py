"""Fields continued beyond their grids cell by cell, and kinds of sides to try."""

from collections.abc import Sequence

import torch

MIXED = {2: ("odd", ("zero", "mirror")), 3: (("replicate", "zero"), "periodic", ("mirror", "odd"))}
EVERY_PADDING = ("mirror", "odd", "periodic", "zero", "replicate", "mixed")


def beyond(field: torch.Tensor, reach: Sequence[int], padding: Sequence) -> torch.Tensor:
    """The field continued by explicit indices and signs, cell by cell."""
    for axis, (cells, kinds) in enumerate(zip(reach, padding, strict=True)):
        n = field.shape[2 + axis]
        low, high = (kinds, kinds) if isinstance(kinds, str) else kinds
        index, sign = [], []
        for i in range(-cells, n + cells):
            kind = low if i < 0 else high if i >= n else "inside"
            mirrored = -1 - i if i < 0 else 2 * n - 1 - i
            source = {"mirror": mirrored, "odd": mirrored, "periodic": i % n, "zero": 0}
            index.append(source.get(kind, min(max(i, 0), n - 1)))
            sign.append({"odd": -1.0, "zero": 0.0}.get(kind, 1.0))
        shape = [1] * field.ndim
        shape[2 + axis] = -1
        field = field.index_select(2 + axis, torch.tensor(index)) * torch.tensor(sign).reshape(shape)
    return field
