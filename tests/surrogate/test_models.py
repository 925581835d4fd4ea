import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from wavesim.config import ForecasterConfig
from wavesim.surrogate import rollout
from wavesim.surrogate.models import ENERGY_MARGIN, Forecaster

FAMILIES = ("classical", "one-way")


def forecaster(family: str = "one-way", trained: bool = True, **settings: object) -> Forecaster:
    torch.manual_seed(0)
    config = ForecasterConfig(convolution=family, width=8, ranks=(4, 4), encoder_width=8, **settings)  # type: ignore[arg-type]
    model = Forecaster(config, 2.0)
    if trained:
        torch.nn.init.normal_(model.network.head.weight, std=0.05)
    return model.eval()


def fields(batch: int = 2, cells: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, 2, cells, cells), 1 + torch.rand(batch, 2, cells, cells)


@pytest.mark.parametrize("family", FAMILIES)
def test_superposition_and_scaling_hold_to_rounding(family: str) -> None:
    model = forecaster(family).double()
    (one, medium), (two, _) = (tuple(f.double() for f in fields()) for _ in range(2))
    two = two.flip(-1)
    context = model.encode(medium)
    together = model(3 * one - 0.5 * two, context)
    torch.testing.assert_close(together, 3 * model(one, context) - 0.5 * model(two, context), atol=1e-12, rtol=0)


def test_an_untrained_forecaster_is_the_coarse_step() -> None:
    state, medium = fields()
    model = forecaster(trained=False)
    alone = Forecaster(model.config.model_copy(update={"ranks": ()}), 2.0)
    expected = model.coarse(state, model.coarse.stencil(medium))
    torch.testing.assert_close(model(state, model.encode(medium)), expected)
    torch.testing.assert_close(alone(state, alone.encode(medium)), expected)
    assert not list(alone.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_parameter(family: str) -> None:
    model = forecaster(family)
    state, medium = fields()
    model(state, model.encode(medium)).square().sum().backward()
    silent = [name for name, p in model.network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("block", [0, 1])
def test_removing_a_block_or_the_encoder_changes_the_forecast(block: int) -> None:
    model, (state, medium) = forecaster(), fields()
    before = model(state, model.encode(medium))
    with torch.no_grad():
        model.network.filters[block].outward.zero_()
    without_block = model(state, model.encode(medium))
    assert (without_block - before).norm() > 1e-3 * before.norm()
    with torch.no_grad():
        model.network.gates.weight.zero_()
        model.network.gates.bias.zero_()
    without_gates = model(state, model.encode(medium))
    assert (without_gates - without_block).norm() > 1e-4 * before.norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_macs_agree_with_a_count_of_the_operations_that_run(family: str) -> None:
    model, (state, medium) = forecaster(family, substeps=0), fields(batch=1)
    context = model.encode(medium)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(state, context)
    gates = 2 * 8 * 16 * 16  # elementwise products, which the counter leaves out
    # Along an axis the one-way filter's input is longer by the mirrored cells, its output is not.
    assert model.macs((16, 16))["frame"] == counter.get_total_flops() // 2 + gates
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.encode(medium)
    assert model.macs((16, 16))["encode"] == counter.get_total_flops() // 2


def test_energy_stays_within_its_budget_however_bad_the_network_is() -> None:
    model, (state, medium) = forecaster(), fields()
    torch.nn.init.normal_(model.network.head.weight, std=5.0)
    context = model.encode(medium)
    initial, budget = model.energy(state, context), model.budget(state, context)
    torch.testing.assert_close(budget, ENERGY_MARGIN * initial)
    with torch.no_grad():
        for _ in range(300):
            state = model.conserved(model(state, context), context, budget)
    assert torch.isfinite(state).all()
    assert (model.energy(state, context) <= budget * 1.0001).all()


def test_a_state_within_its_budget_is_left_alone_and_silence_stays_silent() -> None:
    model, (state, medium) = forecaster(), fields()
    context = model.encode(medium)
    torch.testing.assert_close(model.conserved(state, context, model.budget(state, context)), state, rtol=0, atol=0)
    silent = torch.zeros_like(state)
    assert (model.conserved(model(silent, context), context, model.budget(silent, context)) == 0).all()


def test_a_pressure_that_is_the_same_everywhere_stays() -> None:
    """Between rigid walls it is at rest; it has no energy."""
    _, medium = fields()
    model = Forecaster(ForecasterConfig(ranks=()), 2.0).eval()
    still = torch.stack((torch.full((16, 16), 0.7), torch.zeros(16, 16)))
    forecast = torch.from_numpy(rollout(model, still, medium[0], 3))
    torch.testing.assert_close(forecast, still.expand(3, -1, -1, -1), rtol=0, atol=0)
