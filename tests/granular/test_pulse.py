"""Pulses sent through packings by Newton's equations: on lattices, whose speeds are closed forms, and in disorder."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from lattices import face_centred_cubic, triangular

from wavesim.errors import WavesimError
from wavesim.granular import Mixture, Packing, pulse_speeds
from wavesim.granular.jamming import Protocol, jam
from wavesim.granular.moduli import bulk_modulus, carrying_fraction, wave_speeds
from wavesim.granular.pulse import send
from wavesim.provenance import generator


def repeated(packing: Packing, times: int) -> Packing:
    """The box and its periodic images along x, so many in all."""
    step = np.eye(packing.dim)[0] * packing.box
    return replace(
        packing,
        positions=np.concatenate([packing.positions + k * step for k in range(times)]),
        radii=np.tile(packing.radii, times),
        species=np.tile(packing.species, times),
        box=packing.box + (times - 1) * step,
    )


def strip(seed: int, particles: int, elongation: float, pressure: float, dim: int = 2) -> Packing:
    """Jammed in a long box, at a pressure at which waves of this length are long."""
    mixture = Mixture(particles, 1 / 1.4) if dim == 2 else Mixture(particles, 0.7, 0.5, 3)
    protocol = Protocol(pressure=pressure, start_pressure=pressure, tolerance=1e-7)
    return jam(mixture, generator(seed, "pulse"), protocol, elongation)


@pytest.mark.parametrize("kind", ["P", "S"])
def test_a_pulse_crosses_the_triangular_lattice_at_the_speed_of_its_closed_forms(elsewhere, kind):
    """K = sqrt(3) k / (2 r) and G = sqrt(3) k / 4 (1 - 3 delta / r) (test_moduli.py); dispersion takes 0.2 %."""
    spacing = 0.97
    shear = np.sqrt(3) / 4 * (1 - 3 * (1 - spacing) / spacing)
    modulus = np.sqrt(3) / (2 * spacing) + shear if kind == "P" else shear
    lattice = triangular(spacing, 100, 6)
    found = elsewhere(send, lattice, 30.0, kind)
    assert found.speed == pytest.approx(np.sqrt(modulus / lattice.phi), rel=4e-3)


def test_a_pulse_crosses_the_face_centred_cubic_lattice_along_its_cubes_edge(elsewhere):
    """C_11 = sqrt(2) k / r (1 - delta / r): 8 of the 12 neighbours are stretched, at 45 degrees; 4 are across."""
    spacing = 0.98
    lattice = repeated(face_centred_cubic(spacing, 2), 20)
    modulus = np.sqrt(2) / spacing * (1 - (1 - spacing) / spacing)
    assert elsewhere(send, lattice, 20.0).speed == pytest.approx(np.sqrt(modulus / lattice.phi), rel=6e-3)


@pytest.mark.parametrize(
    ("pressure", "particles", "elongation", "dim", "wavelength"),
    [(1e-2, 2000, 4.0, 2, 30.0), (3e-3, 2000, 4.0, 2, 30.0), (1e-2, 2000, 12.0, 3, 20.0)],
)
def test_pulses_through_jammed_packings_have_the_speed_of_the_moduli(
    pressure, particles, elongation, dim, wavelength, elsewhere
):
    """P, means over two packings and two planes; without G what is foretold would be 4 % slower or more."""
    ratio, hydrostatic = [], []
    for seed in range(2):
        packing = elsewhere(strip, seed, particles, elongation, pressure, dim)
        assert pressure / 2 < packing.pressure < 4 * pressure and packing.balanced
        assert packing.box[0] == pytest.approx(elongation * packing.box[1])
        for plane in (0.0, 0.5):
            found = elsewhere(send, packing, wavelength, "P", plane)
            ratio.append(found.speed / wave_speeds(packing)[0])
            hydrostatic.append(found.speed / np.sqrt(bulk_modulus(packing) / carrying_fraction(packing)))
    assert np.mean(ratio) == pytest.approx(1, abs=0.05), ratio
    assert np.mean(hydrostatic) - np.mean(ratio) > 0.03


@pytest.mark.slow
def test_transverse_pulses_have_the_speed_of_the_shear_modulus_on_average(elsewhere):
    """G is a seventh of K here."""
    packings = [elsewhere(strip, seed, 4000, 6.0, 1e-2) for seed in range(3)]
    found = pulse_speeds(packings, 50.0, "S")
    ratio = [one.speed / wave_speeds(packing)[1] for one, packing in zip(found, packings, strict=True)]
    assert np.mean(ratio) == pytest.approx(1, abs=0.05), ratio


def test_a_pulse_is_small(elsewhere):
    """A tenth of the strain arrives as soon, to half a percent."""
    packing = elsewhere(strip, 0, 1000, 4.0, 1e-2)
    usual, weak = (elsewhere(send, packing, 20.0, "P", 0.0, strain) for strain in (0.01, 0.001))
    assert weak.speed == pytest.approx(usual.speed, rel=5e-3)
    assert weak.velocity.max() == pytest.approx(usual.velocity.max() / 10, rel=0.02)


def test_what_carries_no_pulse_is_refused():
    lattice = triangular(0.97, 40, 6)
    with pytest.raises(
        WavesimError, match=r"wavelength 30 must be positive, and twice in the box's longest side, 38.8"
    ):
        send(lattice, 30.0)
    with pytest.raises(WavesimError, match="kind 'R' of a pulse must be 'P' or 'S'"):
        send(lattice, 10.0, "R")
    with pytest.raises(WavesimError, match="no contact"):
        send(triangular(1.01, 40, 6), 10.0)
    with pytest.raises(WavesimError, match="saddle point"):
        send(triangular(0.7, 40, 6), 10.0, "S")
    # Sound packings that shear would unjam are few, and none is a lattice.
    unjamming = mock.patch("wavesim.granular.pulse.acoustic_tensor", return_value=-0.01 * np.eye(2))
    with unjamming, pytest.raises(WavesimError, match=r"resists no S-wave: its modulus is -0.01; compress it further"):
        send(lattice, 10.0, "S")
