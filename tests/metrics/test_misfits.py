"""Envelope and phase misfit against closed forms: scaled, turned, delayed and reversed traces."""

import numpy as np
import pytest
from scipy.signal import hilbert

from wavesim.metrics import envelope_and_phase_misfit
from wavesim.metrics.misfits import OMEGA, frequencies_of, morlet

TIME = np.arange(256)


def packet(arrival: float, period: float, width: float = 24.0, phase: float = 0.0) -> np.ndarray:
    t = TIME - arrival
    return np.exp(-(t**2) / (2 * width**2)) * np.cos(2 * np.pi * t / period + phase)


def trace() -> np.ndarray:
    return packet(110, 12) + 0.6 * packet(150, 7, 15)


@pytest.mark.parametrize("factor", [1e-6, 0.5, 1.0, 1.1, 3.0])
def test_a_scaled_trace_has_the_envelope_misfit_of_its_factor_and_no_phase_misfit(factor: float) -> None:
    envelope, phase = envelope_and_phase_misfit(factor * trace(), trace())
    assert envelope == pytest.approx(abs(factor - 1), abs=1e-12) and phase == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_forecast_in_which_nothing_moves_lacks_the_envelope_and_has_no_phase(kind: type) -> None:
    envelope, phase = envelope_and_phase_misfit(np.full(253, 0.1, kind), trace()[:253])
    assert envelope == pytest.approx(1, abs=1e-12) and np.isnan(phase)


def test_traces_of_a_few_frames_have_neither_misfit_and_those_of_sixteen_have_that_of_their_delay() -> None:
    period, delay, time = 6.0, 0.6, np.arange(16)

    def packets(late: float) -> np.ndarray:
        t = time - np.linspace(3, 13, 21)[:, None] - late
        return np.exp(-(t**2) / (2 * 4.5**2)) * np.cos(2 * np.pi * t / period)

    for frames in (1, 5, 15):
        for misfit in envelope_and_phase_misfit(packets(delay)[:, :frames], packets(0)[:, :frames]):
            assert misfit.shape == (21,) and np.isnan(misfit).all()
    phase = envelope_and_phase_misfit(packets(delay), packets(0))[1]
    assert phase.mean() == pytest.approx(2 * delay / period, rel=0.05)


def test_a_reversed_trace_is_half_a_turn_off_and_has_the_same_envelope() -> None:
    envelope, phase = envelope_and_phase_misfit(-trace(), trace())
    assert envelope == pytest.approx(0, abs=1e-12) and phase == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("turn", [-2.5, -0.3, 0.1, 1.0, 3.0])
def test_a_turned_phase_has_the_phase_misfit_of_its_angle_and_no_envelope_misfit(turn: float) -> None:
    analytic = hilbert(trace())
    turned = np.real(analytic * np.exp(1j * turn))
    envelope, phase = envelope_and_phase_misfit(turned, trace())
    assert phase == pytest.approx(abs(turn) / np.pi, rel=1e-3) and envelope < 1e-3


def test_a_small_delay_is_a_phase_misfit_of_twice_its_periods() -> None:
    period, delay = 12.0, 0.6
    truth, late = packet(128, period, 40), packet(128 + delay, period, 40)
    envelope, phase = envelope_and_phase_misfit(late, truth)
    assert phase == pytest.approx(2 * delay / period, rel=0.02) and envelope < 0.02
    rms = np.linalg.norm(late - truth) / np.linalg.norm(truth)
    assert rms > 0.3  # three times what the phase misfit is


def test_scale_and_turn_are_told_apart() -> None:
    changed = 0.7 * np.real(hilbert(trace()) * np.exp(0.5j))
    envelope, phase = envelope_and_phase_misfit(changed, trace())
    assert envelope == pytest.approx(0.3, abs=1e-3) and phase == pytest.approx(0.5 / np.pi, rel=1e-3)


def test_every_trace_has_misfits_of_its_own_and_silence_none() -> None:
    truth = np.stack([[trace(), 5 * trace()], [trace() + 3, np.ones(256)]])
    envelope, phase = envelope_and_phase_misfit(2 * truth, truth)
    np.testing.assert_allclose(envelope, [[1, 1], [1, np.nan]], atol=1e-12)
    np.testing.assert_allclose(phase, [[0, 0], [0, np.nan]], atol=1e-12)


def test_the_transform_of_a_long_sine_is_the_wavelets_own() -> None:
    """Of A cos(w0 t): A/2 sqrt(s) pi^(-1/4) sqrt(2 pi) exp(-(s w0 - 6)^2 / 2) in the middle, turning with w0."""
    period, amplitude = 16.0, 1.5
    sine = amplitude * np.cos(2 * np.pi * TIME / period)
    frequencies = np.array([0.8, 1.0, 1.3]) / period
    found = morlet(sine, frequencies)
    scale = OMEGA / (2 * np.pi * frequencies)
    size = amplitude / 2 * np.sqrt(scale) * np.pi**-0.25 * np.sqrt(2 * np.pi)
    size = size * np.exp(-((scale * 2 * np.pi / period - OMEGA) ** 2) / 2)
    middle = slice(120, 136)
    expected = size[:, None] * np.exp(2j * np.pi * TIME[middle] / period)
    np.testing.assert_allclose(found[:, middle], expected, atol=1e-5 * size.max())


def test_the_transform_is_the_integral_over_the_wavelet() -> None:
    rng = np.random.default_rng(0)
    values, frequency, at = rng.normal(size=64), 0.11, 20
    scale = OMEGA / (2 * np.pi * frequency)
    u = (np.arange(64) - at) / scale
    wavelet = np.pi**-0.25 * np.exp(1j * OMEGA * u - u**2 / 2)
    expected = np.sum(values * np.conj(wavelet)) / np.sqrt(scale)
    assert morlet(values, np.array([frequency]))[0, at] == pytest.approx(expected, rel=1e-6)


def test_the_frequencies_reach_from_two_periods_of_the_trace_to_near_nyquist() -> None:
    found = frequencies_of(64)
    assert found[0] == pytest.approx(2 / 64) and found[-1] == pytest.approx(0.4)
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(found[1] / found[0]))
