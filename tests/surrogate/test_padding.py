"""Continuation beyond the edges, in one operation and axis by axis, against explicit indices and signs."""

import pytest
import torch
from padding_cases import EVERY_PADDING, MIXED, beyond

from wavesim.surrogate.layers import continued
from wavesim.surrogate.layers.padding import by_axis, continued_all


def test_a_wall_lies_between_two_cells() -> None:
    field = torch.arange(1.0, 5.0).reshape(1, 1, 1, 4)
    assert continued(field, 2, -1).flatten().tolist() == [2, 1, 1, 2, 3, 4, 4, 3]
    assert continued(field, 2, -1, ("odd", "zero")).flatten().tolist() == [-2, -1, 1, 2, 3, 4, 0, 0]


@pytest.mark.parametrize("order", ["channels apart", "channels side by side"])
@pytest.mark.parametrize("padding", EVERY_PADDING)
@pytest.mark.parametrize("dim", [2, 3])
def test_one_operation_and_its_gradient_are_those_of_explicit_indices(dim: int, padding: str, order: str) -> None:
    sides, cells = MIXED[dim] if padding == "mixed" else [padding] * dim, (2, 0, 3)[-dim:]
    rng = torch.Generator().manual_seed(dim)
    field = torch.randn(2, 3, *(4, 6, 5)[-dim:], generator=rng, dtype=torch.float64)
    if order == "channels side by side":
        field = field.contiguous(memory_format=torch.channels_last if dim == 2 else torch.channels_last_3d)
    field.requires_grad_()
    found, expected = continued_all(field, cells, by_axis(sides, dim)), beyond(field, cells, sides)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    weights = torch.randn(found.shape, generator=rng, dtype=torch.float64)
    (own,), (by_index,) = (torch.autograd.grad((one * weights).sum(), field) for one in (found, expected))
    torch.testing.assert_close(own, by_index, atol=1e-14, rtol=0)
    with torch.no_grad():  # axis by axis
        torch.testing.assert_close(continued_all(field, cells, by_axis(sides, dim)), expected, atol=0, rtol=0)
