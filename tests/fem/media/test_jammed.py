"""Media by the jamming diagram: linear between what was measured, and refused beyond."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import Diagram, Medium, Mixtures, Nodes, assemble, jammed, read_diagram, simulation, stepper

ROWS = [
    {"size_ratio": ratio, "small_fraction": x, "bulk_modulus": ratio * (1 + 2 * x), "phi_j": 0.64 + 0.1 * x, "dim": 3}
    for ratio in (0.8, 0.4)
    for x in (0.5, 0.1, 0.3)
]


@pytest.fixture
def diagram(tmp_path):
    unmeasured = {"size_ratio": 0.4, "small_fraction": 0.9, "packings": 0}
    (tmp_path / "diagram.json").write_text(json.dumps({"rows": [*ROWS, unmeasured]}))
    return read_diagram(tmp_path / "diagram.json")


def test_values_are_linear_in_the_ratio_and_in_the_concentration(diagram):
    x, y = np.linspace(0, 1, 9)[None], np.linspace(0, 1, 7)[:, None]
    medium = jammed(diagram, lambda x, y: 0.4 + 0.4 * y + 0 * x, lambda x, y: 0.1 + 0.4 * x + 0 * y, (0.4, 0.1))
    want = (0.4 + 0.4 * y) * (1 + 2 * (0.1 + 0.4 * x)) / (0.4 * 1.2)
    np.testing.assert_allclose(medium.bulk_modulus(x, y), want, rtol=1e-12)
    np.testing.assert_allclose(medium.density(x, y), (0.65 + 0.04 * x + 0 * y) / 0.65, rtol=1e-12)


def test_a_diagram_of_one_ratio_needs_that_ratio(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps({"rows": [row for row in ROWS if row["size_ratio"] == 0.4]}))
    one = read_diagram(tmp_path / "one.json")
    medium = jammed(one, 0.4, 0.2, (0.4, 0.3))
    assert medium.bulk_modulus(np.zeros(3), np.zeros(3)) == pytest.approx(np.full(3, 1.4 / 1.6))
    with pytest.raises(WavesimError, match=r"size ratio 0.5 is outside of the diagram, 0.4 to 0.4"):
        jammed(one, 0.5, 0.2, (0.5, 0.3))


def test_a_medium_is_made_from_the_diagram_s_file_or_its_folder(diagram, tmp_path):
    for source in (diagram, tmp_path, tmp_path / "diagram.json"):
        medium = Medium.from_diagram(source, 0.8, lambda x, y: 0.1 + 0.4 * x, (0.4, 0.1))
        assert medium.bulk_modulus(np.array(0.5), np.array(0.0)) == pytest.approx(0.8 * 1.6 / (0.4 * 1.2))
        assert medium.density(np.array(0.5), np.array(0.0)) == pytest.approx(0.67 / 0.65)


def test_two_rows_of_one_mixture_are_refused(tmp_path):
    (tmp_path / "diagram.json").write_text(json.dumps({"rows": [*ROWS, ROWS[1]]}))
    with pytest.raises(WavesimError, match=r"two rows of size ratio 0.8 and X_S 0.1; remove one"):
        read_diagram(tmp_path)


def test_a_mixture_that_was_not_measured_is_refused(diagram):
    medium = jammed(diagram, 0.5, lambda x, y: 0.6 * x + 0 * y, (0.5, 0.3))
    with pytest.raises(WavesimError, match=r"concentration of small particles 0 is outside of the diagram, 0.1 to 0.5"):
        medium.bulk_modulus(np.linspace(0, 1, 3), np.zeros(3))


@pytest.mark.parametrize(
    ("mixture", "background", "words"),
    [
        ((0.05, 0.3), (0.4, 0.3), "size ratio 0.05 is outside of the diagram, 0.4 to 0.8"),
        ((0.4, 1.3), (0.4, 0.3), "concentration of small particles 1.3 is outside of the diagram, 0.1 to 0.5"),
        ((lambda x, y: 0.4 + 0 * x, 1.3), (0.4, 0.3), "small particles 1.3 is outside"),
        ((0.05, lambda x, y: 0.3 + 0 * x), (0.4, 0.3), "size ratio 0.05 is outside"),
        ((0.4, float("nan")), (0.4, 0.3), "small particles nan is outside"),
        ((0.4, 0.3), 0.9, r"background 0.9 is no pair of numbers: give the \(size_ratio, small_fraction\)"),
        ((0.4, 0.3), (0.4, 0.9), "small particles 0.9 is outside"),
    ],
)
def test_numbers_that_cannot_be_are_refused_at_the_call(diagram, mixture, background, words):
    with pytest.raises(WavesimError, match=words):
        Medium.from_diagram(diagram, *mixture, background)


def test_no_line_is_drawn_over_a_wide_gap_of_concentrations():
    """Measured at 0.1, 0.3 and 0.9 of one size ratio, all over at another one, and halfway between them."""
    x = [np.array([0.1, 0.3, 0.9]), np.array([0.1, 0.5, 0.9])]
    known = Diagram(np.array([0.4, 0.8]), x, [1 + one for one in x], [np.ones(3)] * 2)
    ends = np.array([0.1, 0.2, 0.3, 0.9])
    np.testing.assert_allclose(known.at(np.array(0.4), ends)[0], 1 + ends)
    np.testing.assert_allclose(known.at(np.array(0.8), np.array(0.7))[0], 1.7)
    for ratio, fraction in ((0.4, 0.7), (0.6, 0.5)):
        with pytest.raises(WavesimError, match=r"lies between 0.3 and 0.9, .* size ratio 0.4, .* more than 0.4 apart"):
            jammed(known, ratio, fraction, (0.4, 0.1))
    assert known.of(0.6).small_fractions[0].tolist() == [0.1, 0.3, 0.9]
    for ratio in (0.4, 0.6):
        with pytest.raises(WavesimError, match=r"lies between 0.3 and 0.9"):
            Mixtures.between(known, ratio, (0.1, 0.9))
        assert Mixtures.between(known, ratio, (0.15, 0.3)).small_fractions.tolist() == [0.15, 0.3]
    whole = Mixtures.between(known, 0.8, (0.2, 0.9))
    assert whole.small_fractions.tolist() == [0.2, 0.5, 0.9]


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": []}', '{"rows": [{"size_ratio": 1}]}', '{"rows": 3}'])
def test_what_is_no_diagram_is_refused(tmp_path, content):
    (tmp_path / "no.json").write_text(content)
    with pytest.raises(WavesimError, match=r"diagram|mixture"):
        read_diagram(tmp_path / "no.json")


def test_a_wave_crosses_a_mixture_at_its_own_speed(diagram):
    """A plane wave through uniform matter: c = sqrt(K / rho) of the diagram, here off its background."""
    medium = jammed(diagram, 0.8, 0.5, (0.4, 0.1))
    speed = np.sqrt(0.8 * 2 / (0.4 * 1.2) / (0.69 / 0.65))
    period = 2 / speed  # of the standing wave cos(pi x)
    problem = assemble(medium, Nodes((6, 2), 4), period, (8, 8))
    state = simulation.start(problem, lambda x, y: np.cos(np.pi * x) + 0 * y)
    after = stepper.advance(problem.operator, state).pressure
    np.testing.assert_allclose(after, state.pressure, atol=1e-4)
