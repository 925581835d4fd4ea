"""Energy of modes between all kinds of sides, against the eigenvalues of their differences."""

import numpy as np
import pytest

from wavesim.metrics import energy, energy_drift, energy_norm_error

CELLS, COURANT = (24, 40), 1.7


def mode(kind: str, number: int, cells: int) -> tuple[np.ndarray, float]:
    """An eigenvector of the second difference between two sides of a kind, and its eigenvalue."""
    place = (np.arange(cells) + 0.5) / cells
    if kind == "periodic":
        return np.cos(2 * np.pi * number * place), 2 - 2 * np.cos(2 * np.pi * number / cells)
    if kind == "mixed":  # rigid, then soft
        return np.cos(np.pi * (number + 0.5) * place), 2 - 2 * np.cos(np.pi * (number + 0.5) / cells)
    wave = np.sin if kind == "soft" else np.cos
    return wave(np.pi * number * place), 2 - 2 * np.cos(np.pi * number / cells)


def ends(kind: str) -> tuple[str, str]:
    return ("rigid", "soft") if kind == "mixed" else (kind, kind)


def uniform(kappa: float, rho: float) -> np.ndarray:
    return np.broadcast_to(np.array([kappa, rho])[:, None, None], (2, *CELLS))


@pytest.mark.parametrize("along_x", ["rigid", "soft", "periodic", "mixed", "absorbing"])
@pytest.mark.parametrize("along_y", ["rigid", "soft", "periodic", "mixed"])
def test_the_energy_of_a_standing_mode_is_its_eigenvalues(along_x: str, along_y: str) -> None:
    (x, of_x), (y, of_y) = mode(along_x, 3, CELLS[1]), mode(along_y, 2, CELLS[0])
    shape = np.outer(y, x)
    kappa, rho, a, b = 3.0, 2.0, 0.7, -1.3
    square = np.sum(shape**2)
    expected = square / 2 * (b**2 / kappa + a**2 * COURANT**2 * (of_x + of_y) / rho)
    state = np.stack([a * shape, b * shape])
    sides = (*ends(along_x), *ends(along_y))
    assert energy(state, uniform(kappa, rho), COURANT, sides) == pytest.approx(expected, rel=1e-12)


def test_the_order_of_the_sides_is_left_right_bottom_top() -> None:
    state = np.zeros((2, *CELLS))
    state[0, :, 0] = 1.0  # along the left side
    inner = COURANT**2 / 2 * CELLS[0]  # the faces to the next column
    medium = uniform(1.0, 1.0)
    assert energy(state, medium, COURANT) == pytest.approx(inner)
    assert energy(state, medium, COURANT, ("soft", "rigid", "rigid", "rigid")) == pytest.approx(3 * inner)
    assert energy(state, medium, COURANT, ("rigid", "soft", "rigid", "rigid")) == pytest.approx(inner)
    corner = COURANT**2 / 2 * 2
    for sides in (("rigid", "rigid", "soft", "rigid"), ("rigid", "rigid", "rigid", "soft")):
        assert energy(state, medium, COURANT, sides) == pytest.approx(inner + corner)


def test_a_face_between_two_densities_has_their_mean() -> None:
    medium = np.ones((2, 1, 2))
    medium[1, 0] = 1.0, 4.0
    state = np.array([[[0.0, 1.0]], [[0.0, 0.0]]])
    assert energy(state, medium, 1.0) == pytest.approx(1 / 2 / 2.5)
    assert energy(state, medium, 1.0, ("periodic", "periodic", "rigid", "rigid")) == pytest.approx(2 / 2 / 2.5)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 0.9, 4.0])
def test_a_scaled_state_has_the_energy_error_of_its_scale(factor: float) -> None:
    rng = np.random.default_rng(0)
    truth, medium = rng.normal(size=(3, 5, 2, *CELLS)), rng.uniform(1, 20, size=(3, 1, 2, *CELLS))
    error = energy_norm_error(factor * truth, truth, medium, COURANT)
    np.testing.assert_allclose(error, np.full((3, 5), abs(factor - 1)), atol=1e-12)


def test_a_standing_wave_that_is_late_has_the_energy_error_of_its_phase() -> None:
    shape = np.outer(*(mode("rigid", n, cells)[0] for n, cells in zip((2, 3), CELLS, strict=True)))
    of = sum(mode("rigid", n, cells)[1] for n, cells in zip((2, 3), CELLS, strict=True))
    kappa, rho = 3.0, 2.0
    omega = COURANT * np.sqrt(kappa / rho * of)  # a frame
    medium, phase = uniform(kappa, rho), 0.4

    def wave(t: float) -> np.ndarray:
        return np.stack([np.cos(omega * t) * shape, -omega * np.sin(omega * t) * shape])

    for t in (0.0, 0.31, 2.0):  # the same at any time, where the pressure alone would have 0 to infinity
        late = energy_norm_error(wave(t - phase / omega), wave(t), medium, COURANT)
        assert late == pytest.approx(2 * np.sin(phase / 2), rel=1e-12)
    still = np.stack([wave(t) for t in np.linspace(0, 20, 50)])
    np.testing.assert_allclose(energy_drift(still, medium, COURANT), 0, atol=1e-12)


def test_a_wave_that_decays_drifts_by_twice_the_rate() -> None:
    state = np.random.default_rng(2).normal(size=(2, 2, *CELLS))
    media = np.random.default_rng(3).uniform(1, 9, size=(2, 2, *CELLS))
    times = np.arange(8)
    decaying = state[:, None] * np.exp(-0.1 * times)[:, None, None, None]
    expected = np.tile(np.exp(-0.2 * times) - 1, (2, 1))
    np.testing.assert_allclose(energy_drift(decaying, media, COURANT), expected, atol=1e-12)
