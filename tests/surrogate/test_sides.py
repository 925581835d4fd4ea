"""Sides of the domain in the coarse step and in paddings: exact waves, closed forms, values written out."""

import numpy as np
import pytest
import torch

from wavesim.errors import WavesimError
from wavesim.surrogate.coarse import CoarseStep
from wavesim.surrogate.layers import continued
from wavesim.surrogate.sides import MEDIUM, STATE, extended, padding

COURANT, SUBSTEPS = 2.0, 6


def fields(cells: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    state = torch.randn(1, 2, cells, cells, generator=rng, dtype=torch.float64)
    return state, 1 + 3 * torch.rand(1, 2, cells, cells, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize(
    ("sides", "along_x", "along_y", "squares"),
    [
        (("soft",) * 4, lambda x: torch.sin(torch.pi * x), lambda y: torch.sin(2 * torch.pi * y), 1 + 4),
        (("soft", "rigid", "rigid", "soft"), lambda x: torch.sin(torch.pi * x / 2),
         lambda y: torch.cos(1.5 * torch.pi * y), 0.25 + 2.25),
        (("periodic",) * 4, lambda x: torch.sin(2 * torch.pi * x + 1),
         lambda y: torch.cos(2 * torch.pi * y + 2), 4 + 4),
        (("rigid", "soft", "periodic", "periodic"), lambda x: torch.cos(torch.pi * x / 2),
         lambda y: torch.sin(2 * torch.pi * y + 1), 0.25 + 4),
    ],
)  # fmt: skip
def test_standing_waves_converge_at_second_order_between_all_sides(sides, along_x, along_y, squares) -> None:  # type: ignore[no-untyped-def]
    """p = X(x) Y(y) cos(w t), w = pi c sqrt(squares), kappa = 3, rho = 2."""
    omega, errors = np.pi * np.sqrt(1.5 * squares), []
    medium = torch.tensor([3.0, 2.0], dtype=torch.float64)[None, :, None, None]
    for cells in (16, 32, 64):
        dt, x = COURANT / cells, (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
        shape, frames = along_y(x)[:, None] * along_x(x), 3 * cells // 16
        coarse = CoarseStep(COURANT, SUBSTEPS, sides).double()
        stencil = coarse.stencil(medium.expand(1, 2, cells, cells))
        state = torch.stack((shape, 0 * shape))[None]
        for _ in range(frames):
            state = coarse(state, stencil)
        exact = np.cos(omega * frames * dt) * shape
        errors.append(float((state[0, 0] - exact).norm() / shape.norm()))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(slopes - 2) < 0.15) and errors[-1] < 0.01, (errors, slopes)


@pytest.mark.parametrize("side", ["soft", "periodic"])
def test_the_mean_energy_does_not_drift_where_nothing_leaves(side: str) -> None:
    state, medium = fields()
    coarse = CoarseStep(1.0, 5, (side,) * 4).double()  # type: ignore[arg-type]
    stencil, energies = coarse.stencil(medium), []
    for _ in range(600):
        state = coarse(state, stencil)
        energies.append(coarse.energy(state, stencil, medium).item())
    assert abs(np.mean(energies[-200:]) / np.mean(energies[:200]) - 1) < 0.01


@pytest.mark.parametrize("side", ["soft", "periodic"])
def test_energy_is_the_work_of_the_acceleration(side: str) -> None:
    """E(p) = -1/2 sum p a(p) / kappa, which holds for any symmetric scheme and knows nothing of faces."""
    state, medium = fields()
    coarse = CoarseStep(COURANT, SUBSTEPS, (side,) * 4).double()  # type: ignore[arg-type]
    stencil, still = coarse.stencil(medium), state * torch.tensor([1.0, 0.0])[:, None, None]
    work = -(state[:, :1] * coarse.acceleration(state[:, :1], stencil) / medium[:, :1]).sum() / 2
    assert coarse.energy(still, stencil, medium).item() == pytest.approx(work.item())


def test_an_absorbing_side_lets_a_wave_leave_and_never_adds_energy() -> None:
    cells = 200
    x = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    pulse = torch.exp(-((x - 0.6) ** 2) / (2 * 0.05**2))
    rate = COURANT / cells * (x - 0.6) / 0.05**2 * pulse  # travels to the right
    state = torch.stack((pulse, rate)).expand(3, 2, cells).permute(1, 0, 2)[None].contiguous()
    medium = torch.ones(1, 2, 3, cells, dtype=torch.float64)
    reflected = {}  # the rate is that of the last cell, half a cell from the side
    for side in ("absorbing", "rigid"):
        coarse = CoarseStep(COURANT, SUBSTEPS, ("rigid", side, "rigid", "rigid")).double()  # type: ignore[arg-type]
        stencil, now = coarse.stencil(medium), state
        energies = [coarse.energy(now, stencil, medium).item()]
        for _ in range(round(0.8 * cells / COURANT)):
            now = coarse(now, stencil)
            energies.append(coarse.energy(now, stencil, medium).item())
        reflected[side] = now[0, 0].abs().max().item()
    assert reflected["rigid"] == pytest.approx(1, abs=0.02) and reflected["absorbing"] < 0.02
    noise, medium = fields()
    coarse = CoarseStep(1.0, 8, ("absorbing",) * 4).double()
    stencil, energies = coarse.stencil(medium), []
    for _ in range(300):
        energies.append(coarse.energy(noise, stencil, medium).item())
        noise = coarse(noise, stencil)
    # The scheme's own energy differs from this one by the square of a sub-step.
    assert max(np.array(energies[1:]) / energies[:-1]) < 1.02 and energies[-1] < 0.1 * energies[0]


def test_a_field_goes_on_at_the_side_that_is_told() -> None:
    beyond = padding(("soft", "rigid", "absorbing", "soft"), STATE)
    field = torch.arange(1.0, 7.0).reshape(1, 1, 2, 3)  # rows from the bottom to the top
    rows = continued(field, 1, -2, beyond[0])[0, 0]
    assert rows[0].tolist() == [0, 0, 0] and rows[-1].tolist() == [-4, -5, -6]
    columns = continued(field, 1, -1, beyond[1])[0, 0]
    assert columns[:, 0].tolist() == [-1, -4] and columns[:, -1].tolist() == [3, 6]
    assert padding(("soft", "rigid", "absorbing", "soft"), MEDIUM) == (("replicate", "mirror"), ("mirror", "mirror"))


def test_a_field_is_brought_up_to_a_multiple_at_the_top_and_on_the_right() -> None:
    field = torch.arange(1.0, 7.0).reshape(1, 1, 2, 3)
    up = extended(field, 4, (("mirror", "odd"), ("zero", "mirror")))
    assert up.shape[-2:] == (4, 4)
    assert up[0, 0].tolist() == [[1, 2, 3, 3], [4, 5, 6, 6], [-4, -5, -6, -6], [-1, -2, -3, -3]]
    assert extended(field, 1, (("mirror", "odd"), ("zero", "mirror"))) is field
    with pytest.raises(WavesimError, match=r"3 cells along a periodic axis are no multiple of 2.*use 4 cells"):
        extended(field, 2, (("mirror", "mirror"), ("periodic", "periodic")))
