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
    shape=st.lists(st.integers(0, 9), max_size=4).map(tuple),
    dtype=st.sampled_from(DTYPES),
    density=st.sampled_from((0.0, 0.02, 0.1, 0.5, 0.9, 1.0)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_tensor_of_any_sparsity_comes_back_bit_for_bit(shape, dtype, density, seed):
    weight = random_weights(shape, dtype, density, seed)
    stored = safetensors.torch.load(safetensors.torch.save(packed({"w": weight, "dense": torch.ones(3)})))
    again = unpacked(stored, {"w": shape, "dense": (3,)})
    assert again.keys() == {"w", "dense"}
    assert again["w"].dtype == dtype and again["w"].shape == weight.shape
    assert bits_of(again["w"]) == bits_of(weight)


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(0, 3000),
    dtype=st.sampled_from((torch.float32, torch.float64, torch.bfloat16)),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_tensor_takes_its_bytes_or_a_bit_each_and_those_not_zero_and_never_makes_the_file_larger(
    count, dtype, density, seed
):
    weight = random_weights((count,), dtype, density, seed)
    width, nonzero = weight.element_size(), int((weight != 0).sum())
    dense, sparse = count * width, math.ceil(count / 8) + nonzero * width
    stored = packed({"layer.weight": weight})
    data = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    assert data == (sparse if len(stored) == 2 else dense)
    assert (len(stored) == 2) == (sparse + 80 + len("layer.weight") < dense)
    assert len(safetensors.torch.save(stored)) <= len(safetensors.torch.save({"layer.weight": weight}))


def test_the_bits_lie_in_the_order_that_is_documented():
    weight = torch.zeros(1000)
    weight[[1, 10, 999]] = torch.tensor([3.0, 4.0, 5.0])
    stored = packed({"w": weight})
    bits = stored["w.nonzero"].tolist()
    assert stored["w"].tolist() == [3, 4, 5]
    assert {byte: value for byte, value in enumerate(bits) if value} == {0: 2, 1: 4, 124: 128}


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
    stored["stem.weight.nonzero"] = stored["stem.weight.nonzero"][:-1]


def without_a_value(stored):
    stored["stem.weight"] = stored["stem.weight"][:-1]


def with_another_bit(stored):
    stored["stem.weight.nonzero"][0] ^= 1


def without_values(stored):
    del stored["stem.weight"]


def of_no_tensor(stored):
    stored["other.nonzero"] = stored["stem.weight.nonzero"].clone()
    stored["other"] = stored["stem.weight"].clone()


def with_a_dense_twin(stored):
    stored["stem.weight"] = torch.zeros(32, 6, 1, 1)


def of_another_kind(stored):
    stored["stem.weight.nonzero"] = stored["stem.weight.nonzero"].float()


def with_other_bits(stored):
    """As many, elsewhere: every number fits, and the fingerprint does not."""
    stored["stem.weight.nonzero"] = stored["stem.weight.nonzero"].flip(0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_a_byte, r"stem.weight.nonzero is \(\d+,\) of uint8; .* take \d+ of uint8"),
        (without_a_value, r"stem.weight is \(\d+,\) of float32; stem.weight.nonzero marks \d+ of \d+ values"),
        (with_another_bit, "marks .* values"),
        (without_values, "stem.weight, which the file does not hold"),
        (of_no_tensor, "other, which the file's settings do not have"),
        (with_a_dense_twin, r"stem.weight is \(32, 6, 1, 1\) of float32"),
        (of_another_kind, "of float32; .* take .* of uint8"),
        (with_other_bits, "settings or weights were changed"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_a_malformed_file_is_refused_in_one_line(tmp_path: Path, spoil, message: str):
    model = Forecaster(ForecasterConfig(width=32, ranks=(4,)), 2.0)
    with torch.no_grad():
        model.network.stem.weight.copy_(random_weights(model.network.stem.weight.shape, torch.float32, 0.1, 0))
    path = save(model, tmp_path / "m.safetensors")
    with safe_open(path, "pt") as file:
        header = file.metadata()
    stored = load_file(path)
    assert "stem.weight.nonzero" in stored
    save_file(stored, path, metadata=header)
    load(path)  # as it was
    spoil(stored)
    save_file(stored, path, metadata=header)
    with pytest.raises(WavesimError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_bit_beyond_the_last_value_is_refused():
    weight = torch.zeros(1001)
    weight[1000] = 1
    stored = packed({"w": weight})
    stored["w.nonzero"][-1] = 2
    with pytest.raises(WavesimError, match=r"w\.nonzero marks 1 of 1001 values"):
        unpacked(stored, {"w": (1001,)})


def test_a_parameter_whose_name_means_bits_is_refused():
    with pytest.raises(WavesimError, match=r"'.nonzero' marks bits; name it otherwise"):
        packed({"gate.nonzero": torch.zeros(3)})
