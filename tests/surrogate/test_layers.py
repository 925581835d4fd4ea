"""Every convolution of the factory against dense ones put together here tap by tap, and against counts by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from padding_cases import EVERY_PADDING, MIXED, beyond
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from wavesim.errors import WavesimError
from wavesim.surrogate.layers import KINDS, Convolution, CPConvolution, make_conv

CASES = list(itertools.product(KINDS, (2, 3)))
CONV = {2: F.conv2d, 3: F.conv3d}
GRID = {2: (8, 12), 3: (4, 6, 8)}


def made(kind: str, dim: int, seed: int = 0, **settings) -> Convolution:
    """A convolution of 6 channels to 5 (depthwise: 6) in double precision, with a bias that is not zero."""
    torch.manual_seed(seed)
    out = 6 if kind == "depthwise" else 5
    layer = make_conv(kind, 6, out, **{"kernel_size": 3, "dim": dim, "rank": 4, "bias": True, **settings})
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    return layer.double()


def noise(dim: int, channels: int = 6, seed: int = 1) -> torch.Tensor:
    return torch.randn(2, channels, *GRID[dim], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assembled(layer: Convolution, kind: str, dim: int) -> torch.Tensor:
    """The dense kernel at stride 1, from the parameters by the formula of each kind, one tap after the other."""
    kernel = np.zeros((layer.channels_out, layer.channels_in, *layer.kernel_size))
    for at in np.ndindex(*layer.kernel_size):
        kernel[(..., *at)] = channel_matrix(layer, kind, at)
    return torch.from_numpy(kernel)


def channel_matrix(layer: Convolution, kind: str, at: tuple[int, ...]) -> np.ndarray:
    """The kernel's matrix (out, in) at one tap."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    names = ("along_t", "along_y", "along_x")[-len(at) :]
    if kind == "classical":
        return p["weight"][(..., *at)]
    if kind in ("depthwise", "separable"):
        filtered = np.diag(p["weight"][(slice(None), 0, *at)])
        return filtered if kind == "depthwise" else p["outward"].reshape(5, 6) @ filtered
    # The taps of each axis here; a filter side by side with others is there only at the centre of their axes.
    taps = [p[name].reshape(*p[name].shape[:2], -1)[:, :, i] for name, i in zip(names, at, strict=True)]
    off_centre = [i != size // 2 for i, size in zip(at, layer.kernel_size, strict=True)]
    there = [tap for axis, tap in enumerate(taps) if not any(off_centre[:axis] + off_centre[axis + 1 :])]
    inward, outward = (p[name].reshape(p[name].shape[:2]) if name in p else None for name in ("inward", "outward"))
    if kind == "cp":
        return outward @ np.diag(sum(there, np.zeros((4, 1)))[:, 0]) @ inward
    if kind == "cp-series":
        return outward @ np.diag(math.prod(taps)[:, 0]) @ inward
    if kind == "flattened":
        return np.diag(math.prod(taps)[:, 0]) @ inward
    if kind == "sum":
        return sum(there, np.zeros((5, 6)))
    return np.linalg.multi_dot(taps[::-1] if kind == "chain" else [outward, *taps[::-1], inward])


@pytest.mark.parametrize("padding", EVERY_PADDING)
@pytest.mark.parametrize(("kind", "dim"), CASES)
def test_every_kind_equals_the_classical_convolution_with_its_kernel(kind: str, dim: int, padding: str) -> None:
    sides = MIXED[dim] if padding == "mixed" else [padding] * dim
    sizes = (5, 3, 7)[:dim]
    layer = made(kind, dim, kernel_size=sizes, padding=sides if padding == "mixed" else padding)
    kernel = assembled(layer, kind, dim)
    torch.testing.assert_close(layer.kernel().detach(), kernel, atol=1e-14, rtol=0)
    field = noise(dim)
    expected = CONV[dim](beyond(field, [size // 2 for size in sizes], sides), kernel, layer.bias)
    torch.testing.assert_close(layer(field), expected, atol=1e-12, rtol=0)
    with torch.no_grad():  # filter after filter
        torch.testing.assert_close(layer(field), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("kind", "mode"), [("periodic", "circular"), ("replicate", "replicate"), ("zero", "constant")])
def test_continuations_are_those_of_torch_where_it_has_them(kind: str, mode: str, dim: int) -> None:
    layer, field = made("cp-series", dim, padding=kind), noise(dim)
    expected = CONV[dim](F.pad(field, [1, 1] * dim, mode=mode), layer.kernel(), layer.bias)
    torch.testing.assert_close(layer(field), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("kind", "dim"), CASES)
@pytest.mark.parametrize(("sizes", "strides"), [((4, 4, 4), (2, 2, 2)), ((3, 6, 2), (1, 2, 2)), ((5, 4, 3), (1, 4, 1))])
def test_a_strided_layer_is_its_kernel_laid_evenly_about_each_coarse_cell(
    kind: str, dim: int, sizes: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    sizes, strides, grid = sizes[:dim], strides[:dim], (8,) * dim
    layer = made(kind, dim, kernel_size=sizes, stride=strides, padding=MIXED[dim])
    field = torch.randn(2, 6, *grid, dtype=torch.float64)
    continued_field = beyond(field, [(k - s) // 2 for k, s in zip(sizes, strides, strict=True)], MIXED[dim])
    expected = CONV[dim](continued_field, layer.kernel(), layer.bias, stride=strides)
    torch.testing.assert_close(layer(field), expected, atol=1e-12, rtol=0)
    assert layer(field).shape[2:] == tuple(n // s for n, s in zip(grid, strides, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "stride"), [(5, 1), (4, 2)])
def test_layers_with_mirrored_kernels_send_mirror_images_to_mirror_images(kind: str, size: int, stride: int) -> None:
    layer = made(kind, 2, kernel_size=size, stride=stride)
    with torch.no_grad():
        for name, p in layer.named_parameters():
            if name.startswith(("weight", "along")):
                p.add_(p.clone().flip((-2, -1)))
    field = noise(2)
    torch.testing.assert_close(layer(field.flip((-2, -1))), layer(field).flip((-2, -1)), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("kind", "dim"), CASES)
@pytest.mark.parametrize("stride", [1, 2])
def test_folded_layers_do_the_same(kind: str, dim: int, stride: int) -> None:
    for rank in (4, 1):  # at rank 1 the ranked kinds stay factors, at rank 4 of 6 channels tensor trains become dense
        layer = made(kind, dim, kernel_size=3 + (stride == 2), stride=stride, padding=MIXED[dim], rank=rank)
        before = layer(noise(dim))
        plain = layer.fold()
        torch.nn.init.zeros_(next(layer.parameters()))  # a copy: it does not follow
        torch.testing.assert_close(plain(noise(dim)), before, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["cp", "cp-series", "flattened"])
def test_axis_filters_fold_into_one_depthwise_kernel_and_the_field_is_continued_once(kind: str) -> None:
    plain = made(kind, 2, kernel_size=5, rank=8).fold()
    names = [type(part).__name__ for part in plain]
    depthwise = next(part for part in plain if getattr(part, "groups", 1) > 1)
    if kind == "flattened":  # 6 channels to 5: continued where they are fewer
        assert names == ["Conv2d", "Continuation", "Conv2d"] and depthwise.weight.shape == (5, 1, 5, 5)
    else:
        assert names == ["Continuation", *["Conv2d"] * 3] and depthwise.weight.shape == (8, 1, 5, 5)


def test_a_rank_that_saves_nothing_folds_into_the_dense_kernel() -> None:
    assert [type(part).__name__ for part in made("cp", 2, rank=16).fold()] == ["Continuation", "Conv2d"]


def test_a_laplacian_has_rank_one_side_by_side_and_none_in_series() -> None:
    layer = make_conv("cp", 1, 1, 3, rank=1)
    with torch.no_grad():
        layer.inward.fill_(1.0)
        layer.outward.fill_(1.0)
        layer.along_y[0, 0, :, 0] = layer.along_x[0, 0, 0] = torch.tensor([1.0, -2.0, 1.0])
    x, y = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="xy")
    inner = layer((x**2 + 3 * y**2)[None, None])[0, 0, 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 8.0))
    assert np.linalg.matrix_rank(layer.kernel()[0, 0].detach().numpy()) == 2  # a product of two filters has rank 1


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_macs_are_those_of_the_closed_formulas(kind: str) -> None:
    c, d, r, k, cells = 6, 4, 3, 5, 8 * 12
    for dim in (2, 3):
        d = c if kind == "depthwise" else 4
        count = {
            "classical": k**dim * c * d,
            "depthwise": k**dim * c,
            "separable": c * (k**dim + d),
            "cp": r * (c + d + dim * k),
            "cp-series": r * (c + d + dim * k),
            "flattened": d * (c + dim * k),
            "chain": k * r * (c + d + (dim - 2) * r),
            "sum": dim * k * c * d,
            "tensor-train": r * (c + d + dim * k * r),
        }[kind]
        layer = make_conv(kind, c, d, k, dim=dim, rank=r, bias=True)
        assert layer.weights() == sum(p.numel() for p in layer.parameters()) == count + d
        assert layer.macs((8, 12) if dim == 2 else (4, 8, 12)) == count * (cells if dim == 2 else 4 * cells)


@pytest.mark.parametrize(("kind", "dim"), CASES)
@pytest.mark.parametrize("stride", [1, 2])
def test_macs_agree_with_a_count_of_the_operations_that_run(kind: str, dim: int, stride: int) -> None:
    layer = made(kind, dim, kernel_size=3 + (stride == 2), stride=stride)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(noise(dim)[:1])
    assert layer.macs(GRID[dim]) == counter.get_total_flops() // 2


@pytest.mark.parametrize(("kind", "dim"), CASES)
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_through_the_dense_kernel_are_those_through_the_filters(
    kind: str, dim: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, field = made(kind, dim, kernel_size=3 + (stride == 2), stride=stride), noise(dim).requires_grad_()
    found = []
    for ratio in (0, math.inf):
        monkeypatch.setattr("wavesim.surrogate.layers.convolution.DENSE_PAYS", ratio)
        assert layer.trains_dense == (ratio > 0 and len(layer.stages) > 1)
        found.append(torch.autograd.grad(layer(field).square().sum(), [field, *layer.parameters()]))
    for through_filters, through_kernel in zip(*found, strict=True):
        torch.testing.assert_close(through_kernel, through_filters, atol=1e-10, rtol=0)


def test_only_layers_of_high_rank_train_through_their_dense_kernel() -> None:
    dense = [make_conv("cp", 16, 16, 5, rank=rank).trains_dense for rank in (4, 8, 16, 32)]
    assert dense == [False, False, False, True]
    with torch.autocast("cpu", torch.bfloat16):  # matrix units multiply it faster than memory holds what lies between
        assert make_conv("cp", 16, 16, 5, rank=4).trains_dense


@pytest.mark.parametrize(("kind", "dim"), CASES)
@pytest.mark.parametrize("stride", [1, 2])
def test_white_noise_keeps_its_variance_at_initialisation(kind: str, dim: int, stride: int) -> None:
    torch.manual_seed(3)
    layer = make_conv(kind, 16, 16, 5 - (stride == 2), dim=dim, rank=6, stride=stride, padding="periodic")
    assert layer.kernel().square().sum().item() == pytest.approx(16, rel=1e-4)
    field = torch.randn(4, 16, *((64, 64) if dim == 2 else (16, 16, 16)))
    # N independent numbers give a variance to sqrt(2 / N). The fewest are 6 ranks in 4 x 512 coarse cells: 1.3 %, and
    # the correlation of neighbours at most doubles it.
    assert layer(field).square().mean().item() == pytest.approx(1, rel=0.1)


def test_each_rank_starts_with_the_same_weight_and_balanced_factors() -> None:
    for kind in ("cp", "cp-series"):
        layer = make_conv(kind, 12, 8, 5, rank=7)
        assert isinstance(layer, CPConvolution)
        torch.testing.assert_close(layer.rank_weights(), layer.rank_weights().mean().expand(7), rtol=1e-5, atol=0)
        norms = torch.stack([f.norm(dim=1) for f in layer.factors()])
        torch.testing.assert_close(norms, norms.mean().expand_as(norms), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["cp", "cp-series"])
@pytest.mark.parametrize("dim", [2, 3])
def test_a_rank_weight_is_the_norm_of_what_the_rank_adds_to_the_kernel(kind: str, dim: int) -> None:
    layer = made(kind, dim)
    with torch.no_grad():
        layer.outward[:, 1] *= 7
        for name, p in layer.named_parameters():
            if name.startswith("along"):
                p[2:] = 0
        if kind == "cp":  # two filters that cancel at the centre: the rank does nothing, though none of them is zero
            layer.along_x[3, ..., 1], layer.along_y[3, :, ..., 1, :] = 2.0, -2.0
    before = layer.kernel().detach()
    for rank, weight in enumerate(layer.rank_weights().tolist()):
        without = made(kind, dim)
        without.load_state_dict(layer.state_dict())
        with torch.no_grad():
            without.outward[:, rank] = 0
        assert weight == pytest.approx((before - without.kernel()).norm().item(), rel=1e-10, abs=1e-12)
    assert (layer.rank_weights()[2:] == 0).all() and (layer.rank_weights()[:2] > 0).all()


@pytest.mark.parametrize(("kind", "dim"), CASES)
def test_decay_on_the_product_is_that_of_the_dense_kernel_and_has_its_gradient(kind: str, dim: int) -> None:
    layer = made(kind, dim)
    dense = assembled(layer, kind, dim)
    assert layer.frobenius().item() == pytest.approx(dense.square().sum().item(), rel=1e-12)
    weights = [p for name, p in layer.named_parameters() if name != "bias"]
    gradients = torch.autograd.grad(layer.frobenius(), weights)
    step = 1e-6
    for weight, gradient in zip(weights, gradients, strict=True):
        with torch.no_grad():
            weight.data.view(-1)[0] += step
            up = assembled(layer, kind, dim).square().sum()
            weight.data.view(-1)[0] -= 2 * step
            down = assembled(layer, kind, dim).square().sum()
            weight.data.view(-1)[0] += step
        assert gradient.flatten()[0].item() == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", ["cp", "cp-series"])
def test_balancing_leaves_kernel_and_rank_weights_and_survives_a_dead_rank(kind: str) -> None:
    layer = made(kind, 2)
    with torch.no_grad():
        layer.inward *= torch.tensor([1e3, 1e-2, 1.0, 5.0]).reshape(4, 1, 1, 1)
        layer.along_x[2], layer.along_y[2] = 0, 0
    kernel, weights = layer.kernel().detach(), layer.rank_weights().detach()
    layer.balance()
    torch.testing.assert_close(layer.kernel(), kernel, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.rank_weights(), weights, rtol=1e-12, atol=1e-12)
    norms = torch.stack([factor.norm(dim=1) for factor in layer.factors()])[:, [0, 1, 3]]
    torch.testing.assert_close(norms, norms.mean(dim=0).expand_as(norms), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("kind", "dim"), CASES)
def test_gradients_reach_every_weight(kind: str, dim: int) -> None:
    layer = made(kind, dim)
    layer(noise(dim)).square().sum().backward()
    assert all((p.grad != 0).any() for p in layer.parameters())


def test_the_default_rank_is_half_of_the_fewer_channels_and_at_least_the_dimension() -> None:
    assert [make_conv("cp", 16, d, 3).weights() for d in (8, 2)] == [4 * (16 + 8 + 6), 2 * (16 + 2 + 6)]
    assert make_conv("cp", 2, 2, 3, dim=3).rank == 3


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("onedimensional", 4, 4, 3), {}, "cp-series"),
        (("cp", 4, 4, 3), {"dim": 1}, "dim is 1"),
        (("depthwise", 4, 8, 3), {}, "separable"),
        (("cp", 4, 4, 4), {}, "odd size at stride 1"),
        (("cp", 4, 4, 3), {"stride": 2}, "2, 4 or 6 at stride 2"),
        (("cp", 4, 4, (3, 3, 3)), {}, "3 axes"),
        (("cp", 4, 4, 3), {"rank": 0}, "rank 0"),
        (("cp", 4, 4, 3), {"padding": ("mirror",)}, "1 axes"),
        (("cp", 4, 4, 3), {"padding": "reflect"}, "mirror, odd"),
        (("cp", 4, 4, 3), {"padding": ("mirror", ("zero", "mirror", "odd"))}, "a pair"),
        (("cp", 4, 4, 3), {"padding": ("mirror", ("periodic", "mirror"))}, "one side only"),
    ],
)
def test_what_is_no_convolution_is_refused(arguments: tuple, settings: dict, message: str) -> None:
    with pytest.raises(WavesimError, match=message):
        make_conv(*arguments, **settings)


def test_grids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WavesimError, match="reaches 3 cells"):
        make_conv("cp", 1, 1, 7)(torch.zeros(1, 1, 8, 2))
    with pytest.raises(WavesimError, match="not a multiple of the stride"):
        make_conv("cp", 1, 1, 2, stride=2)(torch.zeros(1, 1, 8, 7))


def test_a_tensor_that_stands_in_for_a_weight_is_what_runs_and_gets_the_gradient() -> None:
    """As a gate on a weight does: through the dense kernel, which rank 4 of 6 channels trains by."""
    layer, field = made("cp", 2), noise(2)
    assert layer.trains_dense
    gate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    gated = torch.func.functional_call(layer, {"outward": gate * layer.outward}, (field,))
    bias = layer.bias.reshape(-1, 1, 1)
    torch.testing.assert_close(gated - bias, 0.5 * (layer(field) - bias), atol=1e-12, rtol=0)
    assert torch.autograd.grad(gated.square().sum(), gate)[0].abs() > 1e-3
