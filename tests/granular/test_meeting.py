"""X*_S of made-up diagrams whose lines meet where they were told to."""

from __future__ import annotations

from typing import Any

import pytest

from wavesim.granular.meeting import Meeting, meeting

STAR = 0.2


def row(fraction: float) -> dict[str, Any]:
    """phi_J rises with X_S up to X*_S, K is 0.25 there and 2 beyond; phi_J2 is ahead by twice the way to X*_S."""
    if fraction >= STAR:
        return {"small_fraction": fraction, "packings": 3, "carrying_small": 0.9, "phi_j": 0.9 - 0.5 * fraction,
                "bulk_modulus": 2.0, "second": 0}  # fmt: skip
    return {"small_fraction": fraction, "packings": 3, "carrying_small": 0.01, "phi_j": 0.7 + 0.5 * fraction,
            "second": 3, "distance": 2 * (STAR - fraction), "bulk_modulus": 0.25, "bulk_modulus_2": 1.5}  # fmt: skip


def test_the_lines_meet_where_their_distance_vanishes():
    found = meeting([row(fraction) for fraction in (0.25, 0.1, 0.15, 0.05, 0.3)])
    assert found == Meeting(0.15, 0.25, pytest.approx(STAR), 0.25, 0.25, 1.5, 2.0)


def test_points_that_failed_and_points_beyond_that_were_not_measured_are_no_evidence():
    rows = [row(0.1), row(0.15), {"small_fraction": 0.2, "packings": 0}]
    found = meeting(rows)
    assert (found.lower, found.upper, found.joint, found.highest) == (0.15, None, None, 0.15)
    assert found.extrapolated == pytest.approx(STAR)


def test_without_a_second_line_nothing_meets():
    assert meeting([row(0.1), row(0.25), row(0.3)]) is None
    everywhere = [{**row(fraction), "second": 1} for fraction in (0.05, 0.1, 0.15)]  # one packing of three
    assert meeting(everywhere) is None


def test_lines_that_part_do_not_meet():
    assert meeting([{**row(0.1), "distance": 0.05}, row(0.15)]).extrapolated is None
