"""The validation table: small packings by the sweep that makes the diagram, against what is known of large ones.

Tolerances are three standard deviations over packings of this size, or more: other machines find other packings. Of
400 spheres phi_J is up to 0.008 lower than of 2000, and stepwise compression packs them less densely than a quench.
Pressures are 1e-5, and 1e-3 at 0.22. Packings of 0.15, which may take minutes, are in test_unloading.py.

| what | phi_J | Z | K d^(D-2) / k_n | known from |
|---|---|---|---|---|
| disks 1 : 1.4, as many small as large | 0.842 | 4 | 0.346 | O'Hern et al. 2003 |
| equal spheres | 0.64 | 6 | 0.2485 | O'Hern et al. 2003; Agnolin and Roux 2007 |
| spheres 0.73, X_S = 0.5 | 0.649 | 6 | 0.302 | a trial with another protocol (quench and decompress, N = 2000) |
| spheres 0.4, X_S = 0.3 | 0.64 to Furnas' 0.85 | 6 | | limits |
| spheres 0.22, X_S = 0.1, the large ones alone | 0.64 / (1 - X_S) | 6 | 0.26 | Furnas; the trial |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavesim.granular import Mixture
from wavesim.granular.diagram import furnas, generate_diagram
from wavesim.granular.unloading import Unloading

DISKS = Mixture(500, 1 / 1.4)
EQUAL = Mixture(400, 1.0, 0.0, 3)
MILD = Mixture(400, 0.73, 0.5, 3)
MEDIUM = Mixture(400, 0.4, 0.3, 3)
GAPS = Mixture(457, 0.22, 0.1, 3)  # 40 large ones
TABLE = (DISKS, EQUAL, MILD, MEDIUM, GAPS)
SEEDS = 2


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> tuple[Callable[[Mixture], dict[str, Any]], list[dict[str, Any]]]:
    """The row of a mixture, and the lines of all packings."""
    out: Path = tmp_path_factory.mktemp("table")
    rows: dict[Mixture, dict[str, Any]] = {}
    lines: list[dict[str, Any]] = []
    for dim in (2, 3):  # a diagram is of one of them
        own, folder = [mixture for mixture in TABLE if mixture.dim == dim], out / str(dim)
        rows |= zip(own, generate_diagram(own, SEEDS, folder, workers=1, progress=False), strict=True)
        lines += [json.loads(line) for line in (folder / "diagram.jsonl").read_text().splitlines()]
    return rows.__getitem__, lines


def test_every_packing_of_the_table_came_to_equilibrium(swept):
    _, lines = swept
    assert len(lines) == SEEDS * len(TABLE)
    assert max(line["unbalanced_force"] for line in lines) < 1e-4


@pytest.mark.parametrize(
    ("mixture", "phi_j", "within", "bulk_modulus", "part"),
    [
        pytest.param(DISKS, 0.842, 0.006, 0.346, 0.08, id="disks 1 : 1.4"),
        pytest.param(EQUAL, 0.640, 0.012, 0.2485, 0.08, id="equal spheres"),
        pytest.param(MILD, 0.649, 0.015, 0.302, 0.08, id="spheres 0.73"),
    ],
)
def test_phi_j_coordination_and_bulk_modulus_are_the_known_ones(swept, mixture, phi_j, within, bulk_modulus, part):
    row = swept[0](mixture)
    assert row["phi_j"] == pytest.approx(phi_j, abs=within)
    assert row["bulk_modulus"] == pytest.approx(bulk_modulus, rel=part)
    assert row["coordination"] == pytest.approx(2 * mixture.dim, abs=0.06)


def test_moduli_at_jamming_are_the_parts_of_all_kinds_and_hardly_resist_shear(swept):
    for mixture in (DISKS, EQUAL, MILD, MEDIUM):
        row = swept[0](mixture)
        assert row["LL"] + row["LS"] + row["SS"] == pytest.approx(row["bulk_modulus"], rel=1e-3)
        assert abs(row["shear_modulus"]) < 0.05 * row["bulk_modulus"]
    assert swept[0](EQUAL)["LL"] == pytest.approx(swept[0](EQUAL)["bulk_modulus"])


def test_phi_j_rises_with_the_contrast_in_size_and_stays_under_both_limits_of_furnas(swept):
    """Random close packing of equal spheres is their only input. The 40 large ones at 0.22 are next to the limit."""
    found = {mixture: swept[0](mixture)["phi_j"] for mixture in TABLE if mixture.dim == 3}
    for mixture, part in ((MILD, 1.0), (MEDIUM, 1.0), (GAPS, 1.03)):
        assert found[mixture] <= part * np.min(furnas(np.array(mixture.small_fraction), 0.64))
    assert 0 < found[MILD] - found[EQUAL] < 0.025 < 0.04 < found[MEDIUM] - found[EQUAL]


def test_at_0_4_all_species_jam_together_and_there_is_no_second_transition(swept, tmp_path):
    """Neither from below nor from far above, from where small ones that come loose before phi_J would be seen."""
    below = swept[0](MEDIUM)
    (above,) = generate_diagram([MEDIUM], 1, tmp_path, workers=1, progress=False, protocol=Unloading())
    assert below["coordination"] == pytest.approx(6, abs=0.06)
    for row in (below, above):
        assert row["carrying_small"] > 0.6 and row["carrying_large"] > 0.9
    assert above["packings"] == 1 and above["second"] == 0


def test_small_spheres_in_the_gaps_of_large_ones_jam_at_a_second_transition(swept):
    """At the first the large ones are packed as if the others were not there, and have their K; then K is higher."""
    row = swept[0](GAPS)
    assert row["second"] == row["packings"] == SEEDS
    assert row["carrying_small"] < 0.1 and row["carrying_large"] > 0.9
    assert row["phi_j"] * (1 - GAPS.small_fraction) == pytest.approx(0.64, abs=0.02)
    assert row["coordination"] == pytest.approx(6, abs=0.4)  # at a pressure of 1e-3
    assert row["bulk_modulus"] == pytest.approx(0.26, rel=0.25)
    assert row["LL"] > 0.8 * row["bulk_modulus"]
    small_ones_jam = float(furnas(np.array(GAPS.small_fraction), 0.64)[1])
    assert row["phi_j"] + 0.05 < row["phi_j2"] < small_ones_jam
    assert row["carrying_small_2"] >= 0.5 and row["bulk_modulus_2"] > 1.5 * row["bulk_modulus"]
