import numpy as np
import pytest
import torch

from wavesim.errors import WavesimError
from wavesim.surrogate.coarse import CoarseStep


def standing_mode(cells: int, kappa: float, rho: float, time: float, dt: float) -> torch.Tensor:
    """cos(2 pi x) cos(pi y) cos(w t) between rigid walls, as point values of (p, dt p_t), (1, 2, y, x)."""
    x = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    shape = torch.cos(torch.pi * x)[:, None] * torch.cos(2 * torch.pi * x)[None, :]
    omega = np.sqrt(kappa / rho * 5) * np.pi
    return torch.stack((np.cos(omega * time) * shape, -dt * omega * np.sin(omega * time) * shape))[None]


def uniform(cells: int, kappa: float, rho: float) -> torch.Tensor:
    return torch.tensor([kappa, rho], dtype=torch.float64)[None, :, None, None].expand(1, 2, cells, cells)


def random_medium(cells: int = 12) -> torch.Tensor:
    torch.manual_seed(3)
    return 1 + 3 * torch.rand(1, 2, cells, cells, dtype=torch.float64)


def test_a_standing_mode_converges_at_second_order() -> None:
    kappa, rho, errors = 3.0, 2.0, []
    for cells in (16, 32, 64):
        dt = 2 / cells
        coarse = CoarseStep(2.0, 4).double()
        stencil = coarse.stencil(uniform(cells, kappa, rho))
        state = standing_mode(cells, kappa, rho, 0.0, dt)
        frames = round(0.375 / dt)
        for _ in range(frames):
            state = coarse(state, stencil)
        exact = standing_mode(cells, kappa, rho, frames * dt, dt)
        errors.append(float((state - exact)[:, 0].norm() / exact[:, 0].norm()))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(slopes - 2) < 0.1), (errors, slopes)
    assert errors[-1] < 2e-3


def test_reflection_and_transmission_at_an_interface_follow_the_impedances() -> None:
    # A plane pulse from (1, 1) into (20, 5): Z = 1 and 10, so R = 9/11 and T = 20/11.
    cells, courant = 800, 2.0
    dt = courant / cells
    coarse = CoarseStep(courant, 6).double()
    x = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    medium = torch.ones(1, 2, 4, cells, dtype=torch.float64)
    medium[0, 0, :, cells // 2 :], medium[0, 1, :, cells // 2 :] = 20.0, 5.0
    pulse = torch.exp(-((x - 0.25) ** 2) / (2 * 0.02**2))
    rate = dt * (x - 0.25) / 0.02**2 * pulse  # travels to the right: p_t = - p_x
    state = torch.stack((pulse, rate)).expand(4, 2, cells).permute(1, 0, 2)[None].contiguous()
    stencil = coarse.stencil(medium)
    for _ in range(round(0.4 / dt)):
        state = coarse(state, stencil)
    p = state[0, 0, 0]
    assert p[: cells // 2].max().item() == pytest.approx(9 / 11, rel=0.01)
    assert p[cells // 2 :].max().item() == pytest.approx(20 / 11, rel=0.01)
    assert x[p[: cells // 2].argmax()].item() == pytest.approx(0.35, abs=0.003)
    assert x[cells // 2 + p[cells // 2 :].argmax()].item() == pytest.approx(0.8, abs=0.006)


def test_the_mean_energy_does_not_drift_and_time_runs_backwards() -> None:
    coarse, medium = CoarseStep(1.0, 5).double(), random_medium()
    stencil = coarse.stencil(medium)
    torch.manual_seed(0)
    start = state = torch.randn(1, 2, 12, 12, dtype=torch.float64)
    energies = []
    for _ in range(2000):
        state = coarse(state, stencil)
        energies.append(coarse.energy(state, stencil, medium).item())
    early, late = np.mean(energies[:500]), np.mean(energies[-500:])
    assert abs(late / early - 1) < 0.01
    flipped = state * torch.tensor([1.0, -1.0])[:, None, None]
    for _ in range(2000):
        flipped = coarse(flipped, stencil)
    torch.testing.assert_close(flipped[:, 0], start[:, 0], atol=1e-8, rtol=0)


def test_energy_of_a_uniform_ramp_is_its_closed_form() -> None:
    coarse = CoarseStep(2.0, 4).double()
    medium = uniform(8, 4.0, 2.0)
    ramp = torch.arange(8, dtype=torch.float64).expand(8, 8)
    state = torch.stack((ramp, torch.ones_like(ramp)))[None]
    # 56 inner x-faces of difference 1, C^2 / rho = 2 each; 64 cells of v^2 / kappa = 1/4.
    assert coarse.energy(state, coarse.stencil(medium), medium).item() == pytest.approx(0.5 * (56 * 2 + 64 / 4))


def test_a_turned_state_in_a_turned_medium_is_the_turned_result() -> None:
    coarse, medium = CoarseStep(1.0, 5).double(), random_medium()
    torch.manual_seed(1)
    state = torch.randn(1, 2, 12, 12, dtype=torch.float64)
    plain = coarse(state, coarse.stencil(medium))
    turned = coarse(state.rot90(1, (-2, -1)), coarse.stencil(medium.rot90(1, (-2, -1))))
    torch.testing.assert_close(turned, plain.rot90(1, (-2, -1)), atol=1e-12, rtol=0)


def test_too_few_substeps_are_refused_with_the_number_to_use() -> None:
    fast = uniform(8, 20.0, 5.0)
    with pytest.raises(WavesimError, match="at least 6"):
        CoarseStep(2.0, 5).check(CoarseStep(2.0, 5).double().stencil(fast))
    CoarseStep(2.0, 6).check(CoarseStep(2.0, 6).double().stencil(fast))
