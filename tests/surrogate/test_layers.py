import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from wavesim.surrogate.layers import ClassicalFilter, OneWayFilter, mirrored


def reference(field: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlation with a dense kernel on the evenly continued field, by scipy."""
    reach = kernel.shape[-1] // 2
    padded = np.pad(field, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    return np.array([sum(correlate2d(f, k, "valid") for f, k in zip(padded, row, strict=True)) for row in kernel])


def test_a_mirror_repeats_the_cells_at_the_wall() -> None:
    field = torch.arange(4.0).reshape(1, 1, 1, 4)
    assert mirrored(field, 2, -1).flatten().tolist() == [1, 0, 0, 1, 2, 3, 3, 2]


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_filters_equal_the_correlation_with_their_kernel(taps: int) -> None:
    torch.manual_seed(taps)
    field = torch.randn(3, 9, 11, dtype=torch.float64)
    classical = ClassicalFilter(3, 4, taps).double()
    one_way = OneWayFilter(3, 4, taps, 5).double()
    # The one-way kernel is put together here from the factors, tap by tap.
    a, c = one_way.inward[:, :, 0, 0], one_way.outward[:, :, 0, 0]
    kernel = torch.zeros(4, 3, taps, taps, dtype=torch.float64)
    for r in range(5):
        for i in range(taps):
            outer = torch.outer(c[:, r], a[r])
            kernel[:, :, taps // 2, i] += outer * one_way.along_x[r, 0, 0, i]
            kernel[:, :, i, taps // 2] += outer * one_way.along_y[r, 0, i, 0]
    for layer, dense in ((classical, classical.kernel), (one_way, kernel)):
        expected = reference(field.numpy(), dense.detach().numpy())
        np.testing.assert_allclose(layer(field[None])[0].detach().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(one_way.kernel().detach().numpy(), kernel.detach().numpy(), atol=1e-14)


def test_rank_one_of_summed_one_way_filters_holds_the_laplacian() -> None:
    layer = OneWayFilter(1, 1, 3, 1)
    with torch.no_grad():
        for factor in (layer.inward, layer.outward):
            factor.fill_(1.0)
        layer.along_x[0, 0, 0] = torch.tensor([1.0, -2.0, 1.0])
        layer.along_y[0, 0, :, 0] = torch.tensor([1.0, -2.0, 1.0])
    x, y = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="xy")
    inner = layer((x**2 + 3 * y**2)[None, None])[0, 0, 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 8.0))


@pytest.mark.parametrize("layer", [ClassicalFilter(16, 16, 5), OneWayFilter(16, 16, 5, 8)])
def test_a_field_of_unit_variance_keeps_it_at_initialisation(layer: torch.nn.Module) -> None:
    torch.manual_seed(0)
    out = layer(torch.randn(4, 16, 32, 32))
    assert 0.6 < out.std().item() < 1.5


def test_parameters_are_as_counted_by_hand() -> None:
    count = {
        type(m): sum(p.numel() for p in m.parameters()) for m in (ClassicalFilter(6, 4, 5), OneWayFilter(6, 4, 5, 3))
    }
    assert count == {ClassicalFilter: 6 * 4 * 25, OneWayFilter: 3 * (6 + 4 + 2 * 5)}
