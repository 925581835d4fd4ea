"""The compiled loops do what the torch forecaster does, on any grid, for both families, without allocating."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, init, loops, rollout
from wavesim.surrogate.layers import Convolution, CPConvolution, continued
from wavesim.surrogate.loops import CompiledForecaster, multiplies_bfloat16

SMALL = {"width": 6, "kernel_size": 3, "ranks": (5, 9), "encoder_width": 4, "encoder_ranks": (2, 3), "substeps": 3}


def forecaster(**changes) -> Forecaster:
    """With a head that is not zero, as a trained one has."""
    torch.manual_seed(4)
    model = Forecaster(ForecasterConfig(**{**SMALL, **changes}), courant=0.5)
    if model.config.ranks:
        head = model.network.head if model.network else model.coarse.coefficients.head
        torch.nn.init.normal_(head.weight, std=0.05)
    return model.eval()


def waves(grid: tuple[int, int], batch: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    medium = np.exp(0.3 * random.normal(size=(batch, 2, *grid)))
    return random.normal(size=(batch, 2, *grid)).astype("f4"), medium.astype("f4")


@pytest.mark.parametrize(
    ("changes", "grid"),
    [
        ({}, (16, 16)),
        ({"kernel_size": 5}, (19, 33)),  # rows and columns that fill no vector
        ({"kernel_size": 7, "width": 16, "ranks": (32, 8, 16)}, (9, 70)),
        ({"convolution": "classical", "kernel_size": 5}, (21, 18)),
        ({"convolution": "tensor-train", "kernel_size": 5}, (21, 18)),  # as a dense kernel
        ({"substeps": 0}, (12, 40)),
        ({"ranks": ()}, (17, 31)),
        ({"kernel_size": 7}, (3, 3)),  # as few cells as the filters reach
        ({"kernel_size": 7}, (3, 40)),
        ({"kernel_size": 7}, (40, 3)),
    ],
)
def test_a_rollout_is_that_of_the_torch_forecaster(changes, grid):
    model = forecaster(**changes)
    state, medium = waves(grid, batch=2)
    expected = rollout(model, state, medium, 20)
    found = rollout(CompiledForecaster(model), state, medium, 20)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


class Rounded(torch.nn.Module):
    """The same filter in torch, what it multiplies rounded to bfloat16 and added up in single precision."""

    def __init__(self, layer: torch.nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        layer, half = self.layer, lambda values: values.bfloat16().float()
        reach, conv = layer.reach[0], torch.nn.functional.conv2d
        if not isinstance(layer, CPConvolution):
            return conv(continued(continued(half(field), reach, -1), reach, -2), half(layer.weight))
        inner = conv(half(field), half(layer.inward))
        along_x = conv(continued(inner, reach, -1), layer.along_x, groups=len(layer.inward))
        along_y = conv(continued(inner, reach, -2), layer.along_y, groups=len(layer.inward))
        return conv(half(along_x + along_y), half(layer.outward))


@pytest.mark.skipif(not multiplies_bfloat16(), reason="this processor does not multiply bfloat16")
@pytest.mark.parametrize("family", ["one-way", "classical"])
def test_bfloat16_rounds_what_filters_multiply_and_nothing_else(family):
    """Five frames, that a rounding which falls the other way makes no other forecast."""
    model = forecaster(convolution=family, kernel_size=5, ranks=(9, 8))
    state, medium = waves((19, 33))
    found = rollout(CompiledForecaster(model, "bfloat16"), state, medium, 5)
    plain = rollout(model, state, medium, 5)
    for name in [name for name, layer in model.named_modules() if isinstance(layer, Convolution)]:
        if "filters" in name:
            model.set_submodule(name, Rounded(model.get_submodule(name)))
    expected = rollout(model, state, medium, 5)
    apart = [float(np.linalg.norm(found - other) / np.linalg.norm(plain)) for other in (expected, plain)]
    assert apart[0] < 0.2 * apart[1] and 1e-5 < apart[1] < 1e-2


def test_one_medium_serves_a_batch():
    model = forecaster()
    state, medium = waves((16, 20), batch=3)
    np.testing.assert_allclose(
        rollout(CompiledForecaster(model), state, medium[:1], 4), rollout(model, state, medium[:1], 4), atol=1e-4
    )


def test_the_energy_stays_within_its_budget():
    """A head so large that the free forecast grows a hundredfold within a frame."""
    model = forecaster()
    torch.nn.init.normal_(model.network.head.weight, std=30.0)
    state, medium = waves((16, 16))
    forecast = rollout(CompiledForecaster(model), state, medium, 30)
    context = model.encode(torch.from_numpy(medium))
    budget = float(model.budget(torch.from_numpy(state), context))
    free = float(model.energy(model(torch.from_numpy(state), context), context).detach())
    energies = [float(model.energy(torch.from_numpy(frame), context)) for frame in forecast.swapaxes(0, 1)]
    assert free > 100 * budget and max(energies) <= budget * (1 + 1e-4)


@pytest.mark.parametrize("network", ["gated", "effective"])
def test_a_frame_allocates_nothing(network):
    """numpy tells tracemalloc of its arrays; the loops in C have no allocator to call."""
    model = CompiledForecaster(forecaster(network=network))
    state, medium = waves((64, 64))
    begun, out = init(model, state, medium), np.empty((1, *state.shape), np.float32)
    np.copyto(out[:, 0], state)
    model.advance(out[:, 0], begun.context, out)

    def most(work: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert most(lambda: model.advance(out[:, 0], begun.context, out)) < state.nbytes / 4  # Python's own small things
    assert most(lambda: model.advance(out[:, 0], begun.context)) >= state.nbytes  # as it is without `out`

    file = model._loops.library._name
    told = subprocess.run(["nm", "-D", "--undefined-only", file], capture_output=True, text=True, check=True).stdout
    called = {name.split("@")[0] for name in told.split()}
    assert "memcpy" in called
    assert not {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"} & called


def test_a_machine_without_a_compiler_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        WavesimError, match=r"loops.c could not be compiled by 'no-such-compiler'.*install a C compiler"
    ):
        CompiledForecaster(forecaster())


def test_a_processor_without_bfloat16_is_told_so(monkeypatch):
    monkeypatch.setattr(loops, "multiplies_bfloat16", lambda: False)
    with pytest.raises(WavesimError, match=r"does not multiply bfloat16.*use precision float32"):
        CompiledForecaster(forecaster(), "bfloat16")


def test_what_the_loops_cannot_hold_is_refused():
    with pytest.raises(WavesimError, match="conserve_energy"):
        CompiledForecaster(forecaster(conserve_energy=False))
    for changes, words in (
        ({"network": "unet"}, "not 'unet'"),
        ({"sides": ("soft", "rigid", "rigid", "rigid")}, "not sides soft, rigid, rigid, rigid"),
        ({"bundle": 2}, "bundle 2"),
    ):
        with pytest.raises(WavesimError, match=words):
            CompiledForecaster(forecaster(**changes))
    with pytest.raises(WavesimError, match="adds up 1568 fields, and the loops know 1024"):
        CompiledForecaster(forecaster(convolution="classical", width=32, kernel_size=7))
    with pytest.raises(WavesimError, match="adds up 1032 fields, and the loops know 1024"):
        CompiledForecaster(forecaster(width=1030, ranks=(2,)))
    # Beyond the longest vectors there are.
    with pytest.raises(WavesimError, match=r"know filters of \d+ taps here, not 35"):
        CompiledForecaster(forecaster(kernel_size=35))
    with pytest.raises(WavesimError, match="10 x 1 cells is too small"):
        init(CompiledForecaster(forecaster(ranks=())), *waves((1, 10)))


def test_a_frame_of_another_grid_or_kind_than_the_context_is_refused():
    model = CompiledForecaster(forecaster())
    state, medium = waves((8, 9))
    context = init(model, state, medium).context
    good = np.empty((1, 1, 2, 8, 9), np.float32)
    for values, out in (
        (state[..., :-1], None),
        (np.concatenate((state, state)), None),
        (state, good.astype(float)),
        (state, np.empty((1, 1, 2, 8, 18), np.float32)[..., ::2]),
    ):
        with pytest.raises(WavesimError, match=r"this context takes states of \(1, 2, 8, 9\)"):
            model.advance(values, context, out)
    assert model.advance(state, context, good) is good


def test_the_given_forecaster_stays_as_it_is():
    """It may be in the middle of its training, and what was compiled does not change with it."""
    model, (state, medium) = forecaster().train(), waves((8, 9))
    compiled = CompiledForecaster(model)
    before = rollout(compiled, state, medium, 2)
    assert model.training
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    np.testing.assert_array_equal(rollout(compiled, state, medium, 2), before)
