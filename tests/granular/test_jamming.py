"""Jammed packings against what is known of them: phi_J, isostaticity, and two independent bulk moduli."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from unittest import mock

import numpy as np
import pytest
from lattices import square

from wavesim.errors import WavesimError
from wavesim.granular import Packing, mixture
from wavesim.granular._lammps import Engine, EngineState
from wavesim.granular.jamming import Compression, NotJammedError, Protocol, jam, stable
from wavesim.granular.mixture import Mixture
from wavesim.granular.moduli import SaddleError, bulk_modulus, bulk_modulus_by_strain, shear_modulus, wave_speeds
from wavesim.granular.saddle import out_of_saddles
from wavesim.provenance import generator, settings_hash


def jammed(mixture: Mixture, seed: int, protocol: Protocol) -> Packing:
    return jam(mixture, generator(seed, "test"), protocol)


def jammed_or_not(mixture: Mixture, seed: int, protocol: Protocol) -> Packing | None:
    try:
        return jammed(mixture, seed, protocol)
    except NotJammedError:
        return None


def strained(packing: Packing) -> float:
    """K by strain, from the packing's positions and an engine that knows no more."""
    with Engine(packing.positions, packing.radii, packing.species, packing.box) as engine:
        return bulk_modulus_by_strain(engine, packing.radii, packing.bulk_modulus).modulus


@pytest.fixture(scope="module")
def large(elsewhere) -> list[Packing]:
    """Two packings of 1000 disks, 1 : 1.4."""
    return [elsewhere(jammed, Mixture(1000, 1 / 1.4), seed, Protocol()) for seed in (1, 2)]


@pytest.fixture(scope="module")
def marginal(elsewhere) -> list[Packing]:
    """Packings of disks and of spheres close enough to p = 0 to count contacts."""
    disks = [elsewhere(jammed, Mixture(256, 1 / 1.4), seed, Protocol(pressure=1e-7)) for seed in (1, 2, 3)]
    spheres = [elsewhere(jammed, Mixture(200, 0.6, 0.4, 3), seed, Compression(pressure=1e-7)) for seed in (1, 2)]
    return [*disks, *spheres]


def test_disks_jam_at_the_published_packing_fraction(large):
    """0.842 for 1 : 1.4, 50 : 50 by number (O'Hern et al. 2003)."""
    for packing in large:
        assert packing.phi_j == pytest.approx(0.842, abs=0.004)


def test_the_path_of_pressures_leads_to_the_same_packing_fraction(large):
    """A straight line through the last two states passed knows nothing of the bulk modulus."""
    for packing in large:
        slope = np.diff(packing.path_pressure[-2:]) / np.diff(packing.path_phi[-2:])
        crossing = packing.path_phi[-1] - packing.path_pressure[-1] / slope[0]
        assert packing.phi_j == pytest.approx(crossing, abs=5e-5)
        assert (np.diff(packing.path_phi) < 0).all() and (np.diff(packing.path_pressure) < 0).all()


def test_the_bulk_modulus_at_jamming_has_its_known_level(large):
    for packing in large:
        assert packing.bulk_modulus == pytest.approx(0.346, rel=0.05)


def test_the_packing_is_kept_in_equilibrium_at_the_pressure_asked_for(large):
    for packing in large:
        assert 0.5e-5 < packing.pressure <= 1.5e-5
        assert packing.unbalanced_force < 1e-5


def test_a_marginal_packing_is_isostatic(marginal):
    """The network of n particles has one to three contacts more than its D (n - 1) degrees of freedom."""
    for packing in marginal:
        carrying, dim = int((~packing.rattlers).sum()), packing.dim
        assert packing.coordination == pytest.approx(2 * dim, abs=0.03)
        assert 1 <= len(packing.backbone) - dim * (carrying - 1) <= 3
        assert 0.01 < packing.rattler_fraction < 0.09


def test_a_marginal_packing_resists_compression_but_hardly_shear(marginal):
    """G goes to 0 at jamming, K does not: long waves there travel at sqrt(K / rho)."""
    for packing in marginal:
        assert 0 < shear_modulus(packing) < 0.02 * packing.bulk_modulus
        carrying = packing.phi * (1 - packing.rattler_fraction)  # both species rattle about as often
        assert wave_speeds(packing)[0] == pytest.approx(np.sqrt(packing.bulk_modulus / carrying), rel=0.01)


def test_the_bulk_moduli_by_hessian_and_by_strain_agree(elsewhere, large, marginal):
    for packing in (large[0], marginal[0], marginal[-1]):
        assert elsewhere(strained, packing) == pytest.approx(packing.bulk_modulus, rel=0.01)


@pytest.mark.parametrize("small_fraction", [None, 0.05, 0.5])
def test_disks_of_ratio_three_jam(elsewhere, small_fraction):
    """50 : 50 by number, and few or many small ones by area. One random start in some hundred may fail."""
    mixture = Mixture(80 if small_fraction == 0.5 else 64, 1 / 3, small_fraction)  # eight large ones at least
    packings = [elsewhere(jammed_or_not, mixture, seed, Protocol()) for seed in range(6)]
    found = [packing for packing in packings if packing is not None]
    assert len(found) >= 5
    assert 0.82 < np.mean([packing.phi_j for packing in found]) < 0.89
    for packing in found:
        assert packing.converged
        assert packing.coordination == pytest.approx(4, abs=0.3)
        assert packing.size_ratio == pytest.approx(1 / 3)
        assert packing.small_fraction == pytest.approx(small_fraction or 0.1, abs=0.02)


def test_spheres_jam_too(elsewhere):
    """Literature for 1 : 1.4 in three dimensions: 0.648, with six contacts each."""
    packing = elsewhere(jammed, Mixture(250, 1 / 1.4, dim=3), 1, Protocol())
    assert packing.phi_j == pytest.approx(0.648, abs=0.012)
    assert packing.coordination == pytest.approx(6, abs=0.1)


def jammed_and_restored(mixture: Mixture, seed: int, protocol: Protocol) -> tuple[Packing, int]:
    """And how often an earlier state was gone back to."""
    restore = Engine.restore
    with mock.patch.object(Engine, "restore", autospec=True, side_effect=restore) as counted:
        return jammed(mixture, seed, protocol), counted.call_count


def test_a_step_that_unjams_is_taken_back(elsewhere):
    """Asked for a ten-thousandth of the pressure at once, Newton's step overshoots; the packing is none the worse."""
    bold, restored = elsewhere(jammed_and_restored, Mixture(64, 1 / 1.4), 9, Protocol(reduction=1e4))
    careful = elsewhere(jammed, Mixture(64, 1 / 1.4), 9, Protocol())
    assert restored == 2
    assert bold.converged and 0 < bold.pressure <= 1.5e-5
    assert bold.phi_j == pytest.approx(careful.phi_j, abs=0.01)


def left(packing: Packing) -> tuple[EngineState, EngineState]:
    """Where FIRE alone leaves a packing, and the state next to it that is no saddle point."""
    with Engine(packing.positions, packing.radii, packing.species, packing.box) as engine:

        def settle() -> EngineState:
            engine.relax(1e-10, 100_000)
            return engine.state()

        def measure(state: EngineState) -> Packing:
            found = replace(packing, positions=state.positions)
            bulk_modulus(found)
            return found

        state = settle()
        return state, out_of_saddles(engine, state, measure, settle, 0.0, 1.0)[0]


def test_a_square_lattice_buckles(elsewhere):
    """FIRE leaves it as it is; a touch, and its rows slide to where the energy is lower and rises all around."""
    lattice = square(0.9)
    before, after = elsewhere(left, lattice)
    assert np.abs(np.mod(before.positions - lattice.positions + 0.1, lattice.box) - 0.1).max() < 1e-9
    assert before.energy == pytest.approx(lattice.energy)
    assert after.energy < 0.9 * lattice.energy
    bulk_modulus(replace(lattice, positions=after.positions))


def test_an_equilibrium_that_stays_at_a_saddle_point_is_no_packing(elsewhere):
    with pytest.raises(NotJammedError, match="saddle point"):
        elsewhere(held, square(0.9))


def held(packing: Packing) -> None:
    """As `left`, but every relaxation ends where it began, and so at the saddle point again."""
    with Engine(packing.positions, packing.radii, packing.species, packing.box) as engine:
        state = engine.state()

        def settle() -> EngineState:
            engine.restore(state)
            return engine.state()

        stable(engine, state, packing, settle, 1e-6)


def committed(size_ratio: float, small_fraction: float, number: int) -> tuple[Packing, int, float]:
    """A packing of the committed diagram, made again; how many displacements it took, and K by strain."""
    mixture = Mixture(1000, size_ratio, small_fraction)
    rng = generator(0, "diagram", settings_hash(asdict(mixture)), number, 0)
    with mock.patch.object(SaddleError, "__init__", autospec=True, side_effect=SaddleError.__init__) as met:
        packing = jam(mixture, rng, Compression())
    return packing, met.call_count, strained(packing)


@pytest.mark.parametrize(
    ("size_ratio", "small_fraction", "number"),
    [
        (1 / 1.4, 0.8, 0),
        (0.4, 0.8, 0),
        pytest.param(1 / 1.4, 0.9, 0, marks=pytest.mark.slow),
        pytest.param(0.4, 0.9, 1, marks=pytest.mark.slow),
    ],
)
def test_disks_that_came_to_a_saddle_point_leave_it_for_a_packing_whose_bulk_moduli_agree(
    elsewhere, size_ratio, small_fraction, number
):
    """Where one kind is rare. At the saddle points K was 1.11 and is 0.31 by strain (1 / 1.4 at X_S = 0.9)."""
    packing, met, by_strain = elsewhere(committed, size_ratio, small_fraction, number)
    assert met > 0
    assert packing.bulk_modulus == pytest.approx(by_strain, rel=0.01)
    assert packing.bulk_modulus == pytest.approx(0.3, abs=0.05)


def test_the_same_start_gives_the_same_packing_and_another_start_another(elsewhere):
    disks, protocol = Mixture(64, 1 / 1.4), Protocol()
    first, again, other = (elsewhere(jammed, disks, seed, protocol) for seed in (4, 4, 5))
    assert np.array_equal(first.positions, again.positions) and first.phi_j == again.phi_j
    assert abs(first.phi_j - other.phi_j) > 1e-6


def test_a_relaxation_cut_short_is_no_packing(elsewhere):
    with pytest.raises(NotJammedError, match="not in mechanical equilibrium after 40 steps"):
        elsewhere(jammed, Mixture(64, 1 / 1.4), 1, Protocol(steps=40, stretch=20))


def test_the_mixture_has_the_concentration_asked_for():
    mixture = Mixture(5000, 0.25, 0.3)
    areas = mixture.radii() ** 2
    assert areas[mixture.species() == 0].sum() / areas.sum() == pytest.approx(0.3, abs=1e-3)
    assert Mixture(65, 0.5).small == 32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((64, 0.7, 1e-6), "without a small one"),
        ((64, 0.1, 0.999), "without a large one"),
        ((64, 0.1, 0.4), "use at least"),
        ((1000, 0.4, 0.99), "1000 particles with 2 large ones, and at least 8 keep near to X_S: use at least"),
        ((64, 0.0), "not in"),
        ((64, 0.05), r"size_ratio 0.05 is not in \[0.1, 1\]"),
        ((64, 0.5, 1.1), "not between"),
        ((64, 0.5, float("nan")), "not between"),
        ((1, 0.5), "no mixture"),
        ((64, 0.5, None, 4), "neither 2"),
        ((10, 0.7), "10 particles, half of them small, are too few, 8 of each .*: use at least 16"),
        ((15, 1.0, None, 3), "use at least"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(arguments, words):
    with pytest.raises(WavesimError, match=words):
        Mixture(*arguments)


@pytest.mark.parametrize(("dim", "particles", "bytes_each"), [(2, 20_000, 6e3), (3, 1000, 14.4e3), (3, 8000, 60.8e3)])
def test_more_particles_than_fit_in_memory_are_refused(monkeypatch, dim, particles, bytes_each):
    """bytes_each: measured, of the factors of the Hessian."""
    monkeypatch.setattr(mixture, "memory", lambda: 1.15 * particles * bytes_each)
    with pytest.raises(WavesimError, match=r"this machine has .* GB: use at most") as refused:
        Mixture(10**8, 0.5, None, dim)
    most = int(str(refused.value).split()[-1])
    assert most == pytest.approx(1.1 * particles, rel=0.1)
    assert Mixture(most, 0.5, None, dim).particles == most
    with pytest.raises(WavesimError, match="or fewer workers than 2"):
        Mixture(most, 0.5, None, dim).require_memory(2)


@pytest.mark.parametrize(
    "arguments", [(1.0, None, 3), (0.1, 0.05, 3), (0.5, 1.0, 3), (0.4, 0.99), (0.1, 0.4), (0.3, 0.0), (0.7, 1e-6)]
)
def test_the_number_of_particles_that_an_error_asks_for_is_enough_and_the_least(monkeypatch, arguments):
    monkeypatch.setattr(mixture, "memory", lambda: np.inf)
    with pytest.raises(WavesimError) as refused:
        Mixture(3, *arguments)
    needed = int(re.search(r"use at least (\d+) particles", str(refused.value)).group(1))
    Mixture(needed, *arguments)
    with pytest.raises(WavesimError, match=f"use at least {needed} particles"):
        Mixture(needed - 1, *arguments)


def test_one_species_alone_is_a_mixture_and_the_fewest_of_one_are_near_their_concentration():
    assert (Mixture(32, 0.4, 0.0).small, Mixture(32, 0.4, 1.0).small) == (0, 32)
    areas = [Mixture(n, 0.4, 0.9).radii() ** 2 for n in range(450, 600)]  # 8, 9 and 10 large ones
    large = np.array([own[own > 0.2].sum() / own.sum() for own in areas])
    assert (abs(large / 0.1 - 1) < 1 / 16).all() and np.ptp(large) > 0.005
