"""Scales against examples worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.units import Scale

WATER = Scale(length=0.3, density=1000, bulk_modulus=2.25e9, amplitude=1e5)  # c = sqrt(2.25e6) = 1500 m/s
SAND = Scale(length=2.0, density=1600, bulk_modulus=6.4e7)  # dry and loose: c = sqrt(4e4) = 200 m/s


@pytest.mark.parametrize(("scale", "wave_speed", "time"), [(WATER, 1500, 2e-4), (SAND, 200, 0.01)])
def test_the_derived_scales_are_those_worked_out_by_hand(scale, wave_speed, time):
    assert scale.wave_speed == pytest.approx(wave_speed, rel=1e-12)
    assert scale.time == pytest.approx(time, rel=1e-12)


@pytest.mark.parametrize(
    ("quantity", "nondimensional", "si"),
    [
        ("length", 0.05, 0.015),  # a pulse of 15 mm
        ("time", 1 / 32, 6.25e-6),  # a frame every 6.25 microseconds
        ("frequency", 20, 1e5),  # 100 kHz
        ("density", 2.65, 2650),  # quartz
        ("bulk_modulus", 16, 3.6e10),  # quartz, nearly
        ("wave_speed", 2, 3000),
        ("pressure", 0.5, 5e4),
        ("pressure_rate", 1, 5e8),
    ],
)
def test_quartz_sand_in_water_worked_out_by_hand(quantity, nondimensional, si):
    assert WATER.to_si(quantity, nondimensional) == pytest.approx(si, rel=1e-12)
    assert WATER.from_si(quantity, si) == pytest.approx(nondimensional, rel=1e-12)


@pytest.mark.parametrize("quantity", ["length", "time", "frequency", "density", "bulk_modulus", "wave_speed"])
def test_arrays_return_from_the_round_trip_with_their_shape(quantity):
    values = np.random.default_rng(0).lognormal(size=(3, 4))
    back = SAND.from_si(quantity, SAND.to_si(quantity, values))
    np.testing.assert_allclose(back, values, rtol=1e-14)


def test_the_scales_fit_the_wave_equation():
    """p_tt / K and div(grad p / rho) carry the same units: 1 / (K time^2) = 1 / (rho length^2)."""
    for scale in (WATER, SAND):
        left = scale.bulk_modulus * scale.time**2
        assert left == pytest.approx(scale.density * scale.length**2, rel=1e-12)
        assert scale.to_si("frequency", 3.0) * scale.to_si("time", 1 / 3) == pytest.approx(1)


def test_an_unknown_quantity_is_refused_with_the_nearest_name():
    with pytest.raises(WavesimError, match="unknown quantity 'frequencies'; did you mean 'frequency'"):
        WATER.to_si("frequencies", 1.0)
    with pytest.raises(WavesimError, match="unknown quantity 'zz'; valid quantities: length, time, frequency"):
        WATER.from_si("zz", 1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["length", "density", "bulk_modulus", "amplitude"])
def test_a_scale_must_be_positive_and_finite(name, value):
    sound = {"length": 1.0, "density": 1.0, "bulk_modulus": 1.0, "amplitude": 1.0}
    with pytest.raises(WavesimError, match=f"{name} .* is not a scale"):
        Scale(**{**sound, name: value})


@pytest.mark.parametrize("value", ["a", None, 1j, [1.0, 2.0], 10**400])
def test_what_is_no_number_is_refused_as_one_that_is_not_positive_is(value):
    with pytest.raises(WavesimError, match=r"length .* is not a scale: give a positive, finite number in SI units"):
        Scale(value, 1, 1)
