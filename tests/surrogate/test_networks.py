"""What every network must do before a comparison means anything, ours and the references alike."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from network_cases import EVERY, LOCAL, OURS, PERIODIC, RIGID, SOFT, fields, forecast, forecaster
from safetensors.torch import load_file
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from wavesim.config import ForecasterConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, load, rollout, save
from wavesim.surrogate.layers import Convolution


@pytest.mark.parametrize("network", EVERY)
def test_one_trajectory_is_learned_by_heart(network: str, modes: Path) -> None:
    """Without a coarse step: the network has to do all of it. Frames of four standing modes, 2 cells a frame."""
    torch.manual_seed(0)
    data = WaveDataset(modes, "train")
    states, medium = torch.from_numpy(data.window(0, 0, 9)), torch.from_numpy(data.medium(0))[None]
    before, after = states[:-1], states[1:]
    settings = {"width": 16, "ranks": (16, 16), "kernel_size": 5, "modes": 8, "substeps": 0}
    model = Forecaster(ForecasterConfig(network=network, **settings), 2.0)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(600):
        context = model.encode(medium)
        loss = (model(before, context) - after).square().sum() / after.square().sum()
        if loss.item() < 1e-3:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


@pytest.mark.parametrize("network", OURS)
def test_every_spatial_filter_comes_from_the_factory(network: str) -> None:
    """What is torch's own mixes channels alone: the stem, the head and the gates, of one tap."""
    parts = list(forecaster(network).network.modules())
    plain = [part for part in parts if isinstance(part, _ConvNd)]  # transposed ones, too
    assert plain and all(set(part.kernel_size) == {1} for part in plain)
    assert any(isinstance(part, Convolution) for part in parts)


@pytest.mark.parametrize("network", EVERY)
@pytest.mark.parametrize("bundle", [1, 3])
def test_gradients_reach_every_weight(network: str, bundle: int) -> None:
    model, (state, medium) = forecaster(network, bundle=bundle), fields()
    model.train().bundle(state, model.encode(medium)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("network", EVERY)
def test_every_part_that_is_taken_out_changes_the_forecast(network: str) -> None:
    model, (state, medium) = forecaster(network), fields()
    whole, coarse = forecast(model, state, medium), model.coarse(state, model.coarse.stencil(medium))
    correction = (whole - coarse).norm()
    parts = [name for name, part in model.network.named_modules() if name and list(part.parameters(recurse=False))]
    for name in parts:
        without = copy.deepcopy(model)
        with torch.no_grad():
            for weight in without.network.get_submodule(name).parameters():
                weight.zero_()
        assert (forecast(without, state, medium) - whole).norm() > 1e-4 * correction, name


@pytest.mark.parametrize("network", EVERY)
@pytest.mark.parametrize("sides", [PERIODIC, ("rigid", "soft", "absorbing", "rigid")])
def test_macs_agree_with_a_count_of_the_operations_that_run(network: str, sides) -> None:  # type: ignore[no-untyped-def]
    grid = (16, 24) if "periodic" in sides else (18, 25)
    model, (state, medium) = forecaster(network, substeps=0, sides=sides), fields(1, grid)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        context = model.encode(medium)
    encode = counter.get_total_flops() // 2
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(state, context)
    by_kind = {str(kind): flops // 2 for kind, flops in counter.get_flop_counts()["Global"].items()}
    counted = by_kind.pop("aten.convolution")
    if network in OURS:  # products with gates, which the counter leaves out
        frames = 2 if network == "space-time" else 1  # the state's and the coarse one
        counted += frames * sum(gates.numel() for gates in context.seen)
    if not model.network.exportable:
        # Complex products, dense: as many as there are weights, for each of 6 x 4 modes; transforms by their formula.
        height, width = (n if "periodic" in sides else n + 2 * (n // 8) for n in grid)
        transform = round(1.25 * height * width * np.log2(height * width))
        counted += 4 * 2 * 8 * 8 * 6 * 4 + 2 * 2 * 8 * transform
        assert network == "tfno" or by_kind.pop("aten.bmm") == 2 * 8 * 8 * 6 * 4  # one for a complex product
    assert network == "tfno" or not by_kind
    assert model.macs(grid) == {"frame": counted, "encode": encode}


@pytest.mark.parametrize("network", EVERY)
def test_amplitude_commutes_with_every_forecast_and_silence_stays_silent(network: str) -> None:
    model, (state, medium) = forecaster(network), fields()
    torch.testing.assert_close(forecast(model, -8 * state, medium).abs(), 8 * forecast(model, -state, medium).abs())
    assert forecast(model, 0 * state, medium).abs().max() < 1e-30


@pytest.mark.parametrize("network", OURS)
@pytest.mark.parametrize("sides", [RIGID, PERIODIC, ("rigid", "soft", "absorbing", "rigid")])
def test_superposition_holds_to_rounding(network: str, sides) -> None:  # type: ignore[no-untyped-def]
    model = forecaster(network, sides=sides).double()
    (one, medium), (two, _) = (tuple(f.double() for f in fields(seed=seed)) for seed in (1, 2))
    together = forecast(model, 3 * one - 0.5 * two, medium)
    expected = 3 * forecast(model, one, medium) - 0.5 * forecast(model, two, medium)
    torch.testing.assert_close(together, expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("network", EVERY)
def test_a_shifted_field_between_periodic_sides_is_forecast_shifted(network: str) -> None:
    model, (state, medium) = forecaster(network, sides=PERIODIC), fields()
    shift = {"shifts": (4, -8), "dims": (-2, -1)}  # whole cells of the coarsest grid
    moved = forecast(model, state.roll(**shift), medium.roll(**shift))
    torch.testing.assert_close(moved, forecast(model, state, medium).roll(**shift), atol=2e-5, rtol=0)


@pytest.mark.parametrize("network", LOCAL)
def test_a_domain_of_another_size_is_forecast_by_the_same_rule(network: str) -> None:
    """Repeated along both axes, a periodic field is the same field; Fourier operators keep other waves on it."""
    model, (state, medium) = forecaster(network, sides=PERIODIC), fields()
    repeated = forecast(model, state.repeat(1, 1, 2, 3), medium.repeat(1, 1, 2, 3))
    torch.testing.assert_close(repeated, forecast(model, state, medium).repeat(1, 1, 2, 3), atol=2e-5, rtol=0)


def symmetric(model: Forecaster) -> Forecaster:
    """Every kernel the mean of its mirror images: a medium and a state alone prefer a side."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 3:
                both = (weight + weight.flip(-1)) / 2
                weight.copy_((both + both.flip(-2)) / 2)
    return model


@pytest.mark.parametrize("network", LOCAL)
@pytest.mark.parametrize("sides", [RIGID, SOFT])
def test_a_wall_is_a_mirror(network: str, sides) -> None:  # type: ignore[no-untyped-def]
    """Between walls all is as in the periodic domain of twice the size that holds the field and its images."""
    if sides == SOFT and network not in OURS:
        pytest.skip("what is not linear has no odd images")
    state, medium = fields()
    sign = -1 if sides == SOFT else 1

    def imaged(field: torch.Tensor, sign: int) -> torch.Tensor:
        wide = torch.cat((field, sign * field.flip(-1)), dim=-1)
        return torch.cat((wide, sign * wide.flip(-2)), dim=-2)

    walled = symmetric(forecaster(network, sides=sides))
    unbounded = symmetric(forecaster(network, sides=PERIODIC))
    expected = forecast(unbounded, imaged(state, sign), imaged(medium, 1))[..., :16, :16]
    torch.testing.assert_close(forecast(walled, state, medium), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("network", EVERY)
def test_grids_of_any_size_run_where_they_are_not_periodic(network: str) -> None:
    model = forecaster(network, sides=("rigid", "absorbing", "soft", "rigid"))
    for grid in ((16, 16), (17, 22), (31, 13)):
        assert torch.isfinite(forecast(model, *fields(1, grid))).all()


@pytest.mark.parametrize("network", EVERY)
@pytest.mark.parametrize("settings", [{}, {"kernel_size": 7, "ranks": (4, 4, 4), "bundle": 2}])
def test_the_smallest_grid_runs_and_one_cell_less_is_refused(network: str, settings: dict) -> None:
    model = forecaster(network, **settings)
    least = max(2, model.network.least)
    assert rollout(model, *(field.numpy() for field in fields(1, (least, 19))), 1).shape == (1, 1, 2, least, 19)
    with pytest.raises(WavesimError, match=f"19 x {least - 1} cells is too small.*takes {least} along"):
        rollout(model, *(field.numpy() for field in fields(1, (least - 1, 19))), 1)


@pytest.mark.parametrize("network", EVERY)
def test_a_file_rebuilds_every_network(network: str, tmp_path: Path) -> None:
    model = forecaster(network, sides=("rigid", "soft", "periodic", "periodic"), bundle=2, activation="gelu", blocks=2)
    again = load(save(model, tmp_path / "m.safetensors"))
    assert again.config == model.config
    state, medium = (field[0].numpy() for field in fields())
    np.testing.assert_array_equal(rollout(again, state, medium, 3), rollout(model, state, medium, 3))


@pytest.mark.parametrize("network", EVERY)
def test_the_weights_are_the_real_numbers_that_are_stored(network: str, tmp_path: Path) -> None:
    """Four bytes each; batch norms store their running means too, which are no weights."""
    model = forecaster(network)
    with torch.no_grad():
        for tensor in (*model.network.parameters(), *model.network.buffers()):
            tensor.fill_(1 / 3)  # zeros are stored as bits, and what half precision has in two bytes
    stored = sum(tensor.nbytes for tensor in load_file(save(model, tmp_path / "m.safetensors")).values())
    means = sum(buffer.nbytes for buffer in model.network.buffers())
    assert model.weights() == (stored - means) / 4
