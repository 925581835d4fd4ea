"""Both transitions on the way down: against closed forms on a lattice, and in packings of small size ratio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lattices import face_centred_cubic, square

from wavesim.granular import Mixture, Packing
from wavesim.granular._lammps import Engine
from wavesim.granular.jamming import Compression, NotJammedError, descended, jam
from wavesim.granular.measures import strained
from wavesim.granular.packing import LARGE, SMALL
from wavesim.granular.transition import (
    FEW,
    JOINED,
    Bracket,
    bracket,
    extrapolated,
    modulus_on_the_way,
    second_transition,
)
from wavesim.granular.unloading import Unloading, _Way, usual
from wavesim.provenance import generator

SMALL_DIAMETER = 0.4  # in an octahedral gap, which has room for 0.414 where the large ones just touch


def filled(spacing: float) -> Packing:
    """Large spheres on a face-centred cubic lattice with a small one in each octahedral gap; all forces balance."""
    lattice = face_centred_cubic(spacing)
    gaps = np.mod(lattice.positions + np.array([np.sqrt(2) * spacing / 2, 0, 0]), lattice.box)
    count = len(gaps)
    return Packing(
        np.concatenate([gaps, lattice.positions]),
        np.repeat([SMALL_DIAMETER / 2, 0.5], count),
        np.repeat([SMALL, LARGE], count),
        lattice.box,
    )


@pytest.fixture(scope="module")
def way() -> list[Packing]:
    """Expanded in steps of half a per cent of a diameter."""
    return [filled(spacing) for spacing in np.arange(0.965, 0.9999, 0.005)]


@pytest.fixture(scope="module")
def unloaded(elsewhere) -> list[list[Packing]]:
    """Large spheres, 40, and a tenth of the volume in small ones of 0.22; 25, and 15 % in small ones of 0.15."""
    return [
        elsewhere(descended, Mixture(457, 0.22, 0.1, 3), generator(1, "test"), Unloading()),
        elsewhere(descended, Mixture(1332, 0.15, 0.15, 3), generator(1, "test"), Unloading(steps=30_000)),
    ]


@pytest.fixture(scope="module")
def without(elsewhere) -> list[Packing]:
    """The same at 0.4 and X_S = 0.2, where all jam together."""
    return elsewhere(descended, Mixture(294, 0.4, 0.2, 3), generator(2, "test"), Unloading())


@pytest.fixture(scope="module")
def joint(elsewhere) -> list[Packing]:
    """Small spheres of 0.22 that jam with the large ones, at X_S = 0.3."""
    mixture = Mixture(620, 0.22, 0.3, 3)
    return [elsewhere(descended, mixture, generator(seed, "test"), Unloading())[-1] for seed in (1, 3, 4)]


def test_contacts_are_counted_by_who_has_them():
    assert filled(0.97).coordination_by_kind == {"LL": 12, "LS": 6, "SL": 6, "SS": 0}
    assert filled(0.995).coordination_by_kind == {"LL": 12, "LS": 0}


def test_contacts_by_kind_make_up_the_coordination_number(unloaded, without):
    for packing in (unloaded[0][0], unloaded[1][0], without[-1]):
        mean, carrying = packing.coordination_by_kind, ~packing.rattlers
        large, small = (int((packing.species[carrying] == kind).sum()) for kind in (LARGE, SMALL))
        assert large * mean["LS"] == pytest.approx(small * mean["SL"])
        ends = large * (mean["LL"] + mean["LS"]) + small * (mean["SL"] + mean["SS"])
        assert ends / (large + small) == pytest.approx(packing.coordination)


def test_partial_pressures_have_their_closed_forms():
    """p = sum of overlap times distance over 3 V: 6 contacts of large ones a cell of s^3 / sqrt 2, and 6 in its gap."""
    spacing = 0.97
    found, volume = filled(spacing).partial_pressures, spacing**3 / np.sqrt(2)
    half = spacing / np.sqrt(2)
    assert found["LL"] == pytest.approx(6 * (1 - spacing) * spacing / (3 * volume))
    assert found["LS"] == pytest.approx(6 * (0.5 + SMALL_DIAMETER / 2 - half) * half / (3 * volume))
    assert found["SS"] == 0
    assert sum(found.values()) == pytest.approx(filled(spacing).pressure)


def test_the_second_transition_of_a_lattice_is_where_its_gaps_fit_the_small_ones(way):
    found = second_transition(way)
    exact = filled(np.sqrt(2) * (0.5 + SMALL_DIAMETER / 2)).phi
    assert found.phi == pytest.approx(exact, abs=2e-4)
    assert found.unjammed < exact < found.jammed
    assert found.packing.carrying(SMALL) == 1
    assert found.width == pytest.approx(0.6 * (found.jammed - found.unjammed))


def test_the_modulus_on_the_way_is_the_slope_around_the_pressure_asked_for():
    path = {"phi": [0.81, 0.805, 0.8], "pressure": [0.05, 0.04, 0.0375], "pressure_small": [0.2, 0.05, 0.0]}
    assert modulus_on_the_way(path, 0.1) == pytest.approx(0.8075 * 2.0)
    assert modulus_on_the_way(path, 0.01) == pytest.approx(0.8025 * 0.5)
    assert modulus_on_the_way(path, 0.3) is modulus_on_the_way(path, 0.0) is None
    assert modulus_on_the_way({**path, "pressure_small": []}, 0.039, "pressure") == pytest.approx(0.8025 * 0.5)
    assert modulus_on_the_way({**path, "phi": [0.85, 0.805, 0.8]}, 0.1) is None  # states in between are missing


def test_there_is_no_second_transition_where_the_path_does_not_show_it(way):
    carrying = [packing for packing in way if packing.carrying(SMALL)]
    assert second_transition(carrying) is None  # all carry to the end
    assert second_transition(way[len(carrying) :]) is None  # none ever did
    assert second_transition(way[len(carrying) - 1 :]) is None  # a line takes two states


def test_every_state_passed_is_in_equilibrium_and_below_the_one_before(unloaded, without):
    for passed in (*unloaded, without):
        assert all(packing.unbalanced_force < 1e-4 for packing in passed)
        assert (np.diff([packing.phi for packing in passed]) < 0).all()
        assert passed[-1].pressure < 5e-3 < 1e-2 < passed[0].pressure
        assert passed[0].carrying(SMALL) > 0.8


def test_large_spheres_jam_first_and_small_ones_join_at_a_higher_packing_fraction(unloaded):
    """Without the small ones phi_J is that of equal spheres, 0.64; they carry less than a tenth of the pressure."""
    for passed, fraction in zip(unloaded, (0.1, 0.15), strict=True):
        last = passed[-1]
        assert last.carrying(SMALL) < 0.1 and last.carrying(LARGE) > 0.9
        assert last.partial_pressures["LL"] > 0.9 * last.pressure
        assert last.phi_j * (1 - fraction) == pytest.approx(0.64, abs=0.02)
        assert last.phi_j == pytest.approx(extrapolated(last), abs=1e-3)
        assert second_transition(passed).phi > last.phi_j + 0.05


def test_the_second_transition_is_sharp_only_where_the_small_ones_are_small_enough(unloaded):
    """At 0.15 both ways to it agree; at 0.22 small ones join over a range of packing fractions."""
    smooth, sharp = (second_transition(passed) for passed in unloaded)
    assert abs(sharp.phi - sharp.unjammed) < 0.015 < 0.02 < abs(smooth.phi - smooth.unjammed)
    assert sharp.width < 0.5 * smooth.width


def test_the_bulk_moduli_by_hessian_and_by_strain_agree(elsewhere, unloaded, without, joint):
    """Of one and the same state; where small ones carry, K changes now and then as it is relaxed for that."""
    large = [elsewhere(strained, way[-1], Unloading()) for way in (*unloaded, without)]
    for packing, found in zip((way[-1] for way in (*unloaded, without)), large, strict=True):
        assert found["bulk_modulus_relaxed"] == pytest.approx(packing.bulk_modulus, rel=0.01)
    small = [found for packing in joint if "strain" in (found := elsewhere(strained, packing, Unloading()))]
    assert len(small) >= 2  # others give way
    for found in (*large, *small):
        assert found["bulk_modulus_strain"] == pytest.approx(found["bulk_modulus_relaxed"], rel=0.01)


def test_what_gives_way_has_no_modulus_by_strain(elsewhere):
    """Rows of disks, nearly straight: forces nearly balance, and they buckle."""
    lattice = square(0.98)
    noise = 1e-5 * generator(0, "test").standard_normal(lattice.positions.shape)
    assert elsewhere(strained, replace(lattice, positions=lattice.positions + noise), Compression()) == {
        "gives_way": True
    }


def test_a_joint_packing_is_bracketed_as_narrowly_as_others_though_it_is_stiffer(elsewhere, joint):
    packing = joint[2]
    found, distance = elsewhere(bracket, packing, Unloading()), packing.phi - packing.phi_j
    assert found.unjammed < found.jammed < packing.phi and packing.bulk_modulus > 0.9
    assert found.misses(packing.phi_j) < 0.1 * distance
    for wrong in (0.5 * distance, 2 * distance):
        assert found.misses(packing.phi - wrong) > 0.2 * distance


def test_small_spheres_of_ratio_0_4_have_no_transition_of_their_own(without):
    assert without[-1].carrying(SMALL) > 0.3
    assert second_transition(without) is None


def test_few_small_spheres_of_ratio_0_4_come_loose_in_parts_on_the_way(elsewhere):
    """At X_S = 0.05 most carry far above jamming, a quarter at it: no second line only because that is above a tenth.

    At 0.15 and 0.22 fewer than that are left, and then there is one.
    """
    passed = elsewhere(descended, Mixture(182, 0.4, 0.05, 3), generator(1, "test"), Unloading())
    share = np.array([packing.carrying(SMALL) for packing in passed])
    assert share[0] > 0.8 and FEW < share[-1] < JOINED
    assert (share >= JOINED).sum() > len(share) / 2
    assert second_transition(passed) is None


def test_a_packing_unloaded_comes_apart_below_its_phi_j(elsewhere, without):
    """At a pressure of 1e-3 contacts still open on the way: phi_j and the bracket differ by some of that way."""
    packing = without[-1]
    found: Bracket = elsewhere(bracket, packing, Unloading())
    assert found.width <= 0.3 * (packing.phi - found.unjammed) < 2e-3
    assert found.misses(packing.phi_j) < 0.25 * (packing.phi - packing.phi_j)


def test_a_way_out_of_a_saddle_point_begins_under_the_usual_tolerance(elsewhere):
    """A square lattice of disks that is displaced by 1 % has forces of 2 % of the load; let go, it falls into rows."""
    with pytest.raises(NotJammedError, match="no contact"):  # and not: a saddle point
        elsewhere(beside_a_saddle_point, square(0.9), Unloading(tolerance=0.05))


def beside_a_saddle_point(packing: Packing, protocol: Unloading) -> Packing:
    with Engine(packing.positions, packing.radii, packing.species, packing.box) as engine:
        return _Way(engine, packing, protocol)._stable(packing)


def test_mixtures_of_small_size_ratio_are_unloaded_unless_told_otherwise():
    assert isinstance(usual(Mixture(500, 0.22, 0.1, 3)), Unloading)
    assert not isinstance(usual(Mixture(500, 0.4, 0.1, 3)), Unloading)
    assert not isinstance(usual(Mixture(500, 0.22, 0.0, 3)), Unloading)


def test_an_unloading_cut_short_is_no_packing(elsewhere):
    hasty = Unloading(steps=10, stretch=5)
    with pytest.raises(NotJammedError, match="not in mechanical equilibrium at any pressure"):
        elsewhere(jam, Mixture(294, 0.4, 0.2, 3), generator(1, "test"), hasty)
