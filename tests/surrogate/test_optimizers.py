"""Muon against the singular value decomposition, Adam's sign beside it, and trainings that a kill does not change."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wavesim.config import ForecasterConfig, PruningConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.pruning.beforehand import require_adam
from wavesim.surrogate import load
from wavesim.surrogate import train as train_model
from wavesim.surrogate.optimizers import is_matrix, optimizer_of

SMALL = ForecasterConfig(width=8, ranks=(4, 4), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4)
MUON = TrainingConfig(optimizer="muon", learning_rate=0.02, unrolls=(1, 4), shares=(0.3, 0.7), iterations=150, batch=2)
NEWTON_SCHULZ = (0.65, 1.2)  # five iterations bring singular values to about 1: 0.68 to 1.14, in half precision


def test_a_step_of_muon_is_orthogonal_and_one_of_adam_a_sign() -> None:
    """The singular vectors are the gradient's; of singular values from one to a hundredth all become about one."""
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(20, 6, generator=generator))
    gradient = (u * torch.tensor([1.0, 0.6, 0.3, 0.1, 0.03, 0.01])) @ v.T
    filters, bias = torch.nn.Parameter(torch.zeros(6, 4, 5)), torch.nn.Parameter(torch.zeros(7))
    depthwise = torch.nn.Parameter(torch.zeros(3, 1, 5))
    assert [is_matrix(weight) for weight in (filters, bias, depthwise)] == [True, False, False]
    optimizer = optimizer_of([filters, bias, depthwise], MUON)
    filters.grad, bias.grad = gradient.reshape(6, 4, 5), torch.tensor([1.0, -1, 2, -3, 1e-3, 5, -1e-3])
    depthwise.grad = torch.ones(3, 1, 5)
    optimizer.step()
    taken = -filters.detach().reshape(6, 20) / (0.02 * 0.2 * np.sqrt(20))
    along = torch.diag(u.T @ taken @ v)
    assert NEWTON_SCHULZ[0] < along.min() and along.max() < NEWTON_SCHULZ[1], along
    rest = u.T @ taken @ v - torch.diag(along)
    assert rest.abs().max() < 0.05 and (taken - u @ u.T @ taken @ v @ v.T).abs().max() < 0.05
    torch.testing.assert_close(bias.detach(), -0.02 * torch.sign(bias.grad), rtol=1e-4, atol=0)
    torch.testing.assert_close(depthwise.detach(), torch.full((3, 1, 5), -0.02), rtol=1e-4, atol=0)


def test_a_killed_training_with_muon_goes_on_to_the_same_weights(modes: Path, tmp_path: Path) -> None:
    def killed(iteration: int, *_: object) -> None:
        if iteration == 120:
            raise KeyboardInterrupt

    whole, other = tmp_path / "whole.safetensors", tmp_path / "other.safetensors"
    train_model(SMALL, MUON, modes, whole)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_model(SMALL, MUON, modes, other, progress=killed)
    iterations: list[int] = []
    train_model(SMALL, MUON, modes, other, progress=lambda i, *_: iterations.append(i))
    assert iterations[0] == 101
    one, another = load(whole).state_dict(), load(other).state_dict()
    assert all(torch.equal(one[name], another[name]) for name in one)


def test_complex_weights_and_espn_ask_for_adam() -> None:
    with pytest.raises(WavesimError, match="muon: this network has complex weights, as Fourier modes are; use adam"):
        optimizer_of([torch.nn.Parameter(torch.zeros(3, 3, dtype=torch.complex64))], MUON)
    with pytest.raises(WavesimError, match=r"method 'espn' .* optimizer 'muon'; set optimizer = 'adam'"):
        require_adam(PruningConfig(method="espn", density=0.5), MUON)
    require_adam(PruningConfig(method="sap"), MUON)
    require_adam(PruningConfig(method="espn", density=0.5), TrainingConfig())
