"""phi_J: the extrapolated pressure and the last jammed state agree, and stepwise compression finds the known values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wavesim.granular import Mixture, Packing
from wavesim.granular.jamming import Compression, Protocol, jam
from wavesim.granular.moduli import partial_bulk_moduli
from wavesim.granular.transition import Bracket, bracket, extrapolated
from wavesim.provenance import generator


def compressed(mixture: Mixture, seed: int) -> tuple[Packing, Bracket]:
    packing = jam(mixture, generator(seed, "test"), Compression())
    return packing, bracket(packing)


@pytest.fixture(scope="module")
def disks(elsewhere) -> list[tuple[Packing, Bracket]]:
    """512 disks, 1 : 1.4, half of them small."""
    return [elsewhere(compressed, Mixture(512, 1 / 1.4), seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def spheres(elsewhere) -> tuple[Packing, Bracket]:
    """500 equal spheres."""
    return elsewhere(compressed, Mixture(500, 1.0, 0.0, 3), 1)


def test_disks_compressed_from_a_dilute_state_jam_at_the_published_packing_fraction(disks):
    """0.842 for 1 : 1.4, 50 : 50 by number (O'Hern et al. 2003), with K 0.346 and four contacts each."""
    for packing, _ in disks:
        assert packing.phi_j == pytest.approx(0.842, abs=0.006)
        assert packing.coordination == pytest.approx(4, abs=0.06)
        assert packing.bulk_modulus == pytest.approx(0.346, rel=0.08)


def test_equal_spheres_jam_at_random_close_packing(spheres):
    """0.64 with six contacts each; K is 0.2485."""
    packing, _ = spheres
    assert packing.phi_j == pytest.approx(0.64, abs=0.01)
    assert packing.coordination == pytest.approx(6, abs=0.1)
    assert packing.bulk_modulus == pytest.approx(0.2485, rel=0.1)
    assert (packing.species == 1).all()


def test_all_ways_to_phi_j_agree(disks, spheres):
    """The bracket comes from equilibria alone, the extrapolation from pressures, phi_j from the Hessian.

    Next to the differences between seeds, 1e-3, the bracket is narrow, and so it is next to phi - phi_J: a modulus of
    half or twice the value would put phi_j outside, further than what is allowed here.
    """
    for packing, found in (*disks, spheres):
        assert found.unjammed < found.jammed <= packing.phi
        assert found.width <= packing.pressure * packing.phi < 2e-5
        for phi_j in (extrapolated(packing), packing.phi_j):
            assert found.misses(phi_j) < 0.5 * packing.pressure * packing.phi
        distance = packing.phi - packing.phi_j
        for wrong in (2 * distance, 0.3 * distance):
            assert found.misses(packing.phi - wrong) > 0.5 * packing.pressure * packing.phi


def test_the_bracket_knows_neither_the_modulus_nor_phi_j(elsewhere, disks):
    packing, found = disks[0]
    assert elsewhere(bracket, replace(packing, phi_j=0.8, bulk_modulus=0.01, path_phi=np.empty(0))) == found


def test_small_spheres_in_the_gaps_of_large_ones_carry_nothing(elsewhere):
    """At size ratio 0.22 and X_S = 0.1 the large ones jam by themselves: below the limit of Furnas, with their K."""
    packing, found = elsewhere(compressed, Mixture(500, 0.22, 0.1, 3), 1)
    carrying = ~packing.rattlers
    assert carrying[packing.species == 1].mean() > 0.9 and carrying[packing.species == 0].mean() < 0.1
    assert 0.6 < packing.phi_j * 0.9 < 0.64
    assert found.misses(packing.phi_j) < 0.5 * (packing.phi - packing.phi_j)
    parts = partial_bulk_moduli(packing)
    assert parts["LL"] > 0.85 * packing.bulk_modulus and parts["SS"] < 0.02 * packing.bulk_modulus
    assert packing.bulk_modulus == pytest.approx(0.2485, rel=0.25)  # there are only 44 large ones


def test_a_packing_of_small_particles_alone_is_one_of_large_ones_in_other_units(elsewhere):
    """Half the diameter: the same phi_J and coordination; in space K d = 0.25 k_n, so twice the modulus."""
    large, small = (elsewhere(compressed, Mixture(200, 0.5, fraction, 3), 4)[0] for fraction in (0.0, 1.0))
    assert small.radii.max() == 0.25 and (small.species == 0).all()
    assert small.phi_j == pytest.approx(large.phi_j, abs=0.02)
    assert small.bulk_modulus == pytest.approx(2 * large.bulk_modulus, rel=0.15)


def test_a_packing_far_above_jamming_is_bracketed_by_as_wide_a_gap(elsewhere):
    packing = elsewhere(jam, Mixture(64, 1 / 1.4), generator(3, "test"), Protocol(pressure=1e-3))
    found = elsewhere(bracket, packing)
    assert 1e-4 < found.width <= packing.pressure * packing.phi < 2e-3
    assert found.misses(packing.phi_j) < 0.5 * (packing.phi - packing.phi_j)
