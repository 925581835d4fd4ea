"""Weights stored without their zeros come back bit for bit, take what the formula says, and are refused if changed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.info import info_text
from wavesim.surrogate import Forecaster, load, rollout, save
from wavesim.surrogate.checkpoint import stored_bytes
from wavesim.surrogate.sparse_weights import packed, unpacked

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.bool)


def random_weights(shape, dtype, density, seed):
    rng = np.random.default_rng(seed)
    kept = torch.as_tensor(rng.random(shape) < density)
    values = torch.as_tensor(1 + rng.random(shape)).to(dtype)
    return torch.where(kept, values, torch.zeros((), dtype=dtype))


def bits_of(tensor):
    return tensor.contiguous().flatten().view(torch.uint8).tolist()


@settings(max_examples=150, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 9), max_size=4).map(tuple), min_size=1, max_size=3),
    dtype=st.sampled_from(DTYPES),
    density=st.sampled_from((0.0, 0.02, 0.1, 0.5, 0.9, 1.0)),
    half=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_tensors_of_any_sparsity_come_back_bit_for_bit(shapes, dtype, density, half, seed):
    weights = {f"w{k}": random_weights(shape, torch.float32, density, seed + k) for k, shape in enumerate(shapes)}
    if half:
        weights = {name: weight.half().float() for name, weight in weights.items()}
    weights["other"] = random_weights((7,), dtype, density, seed)
    stored = safetensors.torch.load(safetensors.torch.save(packed(weights)))
    again = unpacked(stored, {name: tuple(weight.shape) for name, weight in weights.items()})
    assert again.keys() == weights.keys()
    for name, weight in weights.items():
        assert again[name].dtype == weight.dtype and again[name].shape == weight.shape
        assert bits_of(again[name]) == bits_of(weight)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 3000), half=st.booleans(), density=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_file_takes_its_numbers_or_a_bit_each_and_those_not_zero_whichever_is_smaller(count, half, density, seed):
    weight = random_weights((count,), torch.float32, density, seed)
    weight = weight.half().float() if half else weight
    nonzero = int((weight != 0).sum())
    dense, sparse = 4 * count, math.ceil(count / 8) + nonzero * (2 if half or not nonzero else 4)
    stored = packed({"layer.weight": weight})
    data = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    assert data == (sparse if "values" in stored else dense)
    if abs(dense - sparse) > 150:  # what the names of a file take
        assert ("values" in stored) == (sparse < dense)
    assert len(safetensors.torch.save(stored)) <= len(safetensors.torch.save({"layer.weight": weight}))


def test_the_bits_lie_in_the_order_that_is_documented():
    """Of all tensors in the order of their names: `a` has the numbers 0 to 9, `b` 10 to 1009."""
    weights = {"b": torch.zeros(1000), "a": torch.zeros(2, 5)}
    weights["a"][0, 1], weights["b"][[0, 999]] = 3.0, torch.tensor([4.0, 0.1])
    stored = packed(weights)
    bits = stored["nonzero"].tolist()
    assert stored["values"].tolist() == [3, 4, pytest.approx(0.1)] and stored["values"].dtype == torch.float32
    assert {byte: value for byte, value in enumerate(bits) if value} == {0: 2, 1: 4, 126: 2}
    weights["b"][999] = 0.25
    assert packed(weights)["values"].dtype == torch.float16


def test_minus_zero_is_a_value():
    weight = torch.zeros(500)
    weight[7] = -0.0
    again = unpacked(packed({"w": weight}), {"w": (500,)})["w"]
    assert torch.signbit(again).nonzero().tolist() == [[7]]


def sparse_forecaster(density=0.05):
    torch.manual_seed(0)
    model = Forecaster(ForecasterConfig(width=16, ranks=(16, 16), encoder_width=16, encoder_ranks=(8, 8)), 2.0)
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            weight.copy_(random_weights(weight.shape, weight.dtype, density, len(name)))
    return model.eval()


def test_a_sparse_forecaster_takes_what_its_file_takes_and_forecasts_the_same(tmp_path: Path):
    model = sparse_forecaster()
    path = save(model, tmp_path / "m.safetensors")
    again = load(path)
    for name, weight in model.network.state_dict().items():
        assert bits_of(again.network.state_dict()[name]) == bits_of(weight)
    rng = np.random.default_rng(0)
    state, medium = rng.random((2, 2, 12, 12)).astype(np.float32) + 0.5
    np.testing.assert_array_equal(rollout(again, state, medium, 2), rollout(model, state, medium, 2))

    dense = len(safetensors.torch.save(model.network.state_dict()))
    assert stored_bytes(model) < dense / 2
    with safe_open(path, "pt") as file:
        header = file.metadata()
    assert abs(path.stat().st_size - stored_bytes(model) - sum(len(k) + len(v) for k, v in header.items())) < 200
    zeros = sum(int((weight == 0).sum()) for weight in model.parameters())
    assert f"{model.weights():,} parameters, {zeros:,} of them zero, " in info_text(path)


def test_a_dense_file_as_they_were_before_still_loads_with_the_same_fingerprint(tmp_path: Path):
    model = sparse_forecaster()
    path = save(model, tmp_path / "m.safetensors")
    with safe_open(path, "pt") as file:
        header = file.metadata()
    dense = tmp_path / "dense.safetensors"
    save_file(model.network.state_dict(), dense, metadata=header)
    assert dense.stat().st_size > path.stat().st_size
    for name, weight in load(dense).network.state_dict().items():
        assert torch.equal(weight, model.network.state_dict()[name])


def without_a_byte(stored):
    stored["nonzero"] = stored["nonzero"][:-1]


def without_a_value(stored):
    stored["values"] = stored["values"][:-1]


def with_another_bit(stored):
    stored["nonzero"][0] ^= 1


def without_values(stored):
    del stored["values"]


def without_bits(stored):
    del stored["nonzero"]


def with_one_too_many(stored):
    stored["other"] = torch.zeros(3)


def with_a_dense_twin(stored):
    stored["stem.weight"] = torch.zeros(16, 6, 1, 1)


def of_another_kind(stored):
    stored["nonzero"] = stored["nonzero"].float()


def with_other_bits(stored):
    """As many, elsewhere: every number fits, and the fingerprint does not."""
    stored["nonzero"][:8] = stored["nonzero"][:8].flip(0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_a_byte, r"'nonzero' is \(\d+,\) of uint8; .* take \d+ of uint8"),
        (without_a_value, r"'values' is \(\d+,\) of float32; 'nonzero' marks \d+ of \d+"),
        (with_another_bit, "marks"),
        (without_values, "it has no 'values'"),
        (without_bits, "it has no 'nonzero'"),
        (with_one_too_many, r"other has shape \(3,\), its settings say that there is none"),
        (with_a_dense_twin, r"'nonzero' is .*; the \d+ numbers that the settings say take"),
        (of_another_kind, "of float32; .* take .* of uint8"),
        (with_other_bits, "settings or weights were changed"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_a_malformed_file_is_refused_in_one_line(tmp_path: Path, spoil, message: str):
    path = save(sparse_forecaster(), tmp_path / "m.safetensors")
    with safe_open(path, "pt") as file:
        header = file.metadata()
    stored = load_file(path)
    assert stored.keys() == {"nonzero", "values"}
    save_file(stored, path, metadata=header)
    load(path)  # as it was
    spoil(stored)
    save_file(stored, path, metadata=header)
    with pytest.raises(WavesimError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_bits_of_single_tensors_as_older_versions_kept_them_are_refused(tmp_path: Path):
    path = save(sparse_forecaster(), tmp_path / "m.safetensors")
    with safe_open(path, "pt") as file:
        header = file.metadata()
    stored = load_file(path)
    older = {"stem.weight": stored["values"][:3].clone(), "stem.weight.nonzero": stored["nonzero"][:8].clone()}
    save_file(older, path, metadata=header)
    with pytest.raises(WavesimError, match=r"written by an older version of wavesim, .*; prune that model again"):
        load(path)


def test_a_bit_beyond_the_last_value_is_refused():
    weight = torch.zeros(1001)
    weight[1000] = 1
    stored = packed({"w": weight})
    stored["nonzero"][-1] = 2
    with pytest.raises(WavesimError, match=r"'nonzero' marks 1 of 1001"):
        unpacked(stored, {"w": (1001,)})


def test_a_parameter_whose_name_means_bits_is_refused():
    with pytest.raises(WavesimError, match="nonzero cannot be stored"):
        packed({"nonzero": torch.zeros(3)})
