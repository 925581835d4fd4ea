"""X*_S, where the line of second transitions meets the first one: beyond it all particles jam together.

Below X*_S the `distance` phi_J2 - phi_J falls with the concentration X_S of small particles; the straight line through
its last two values meets zero at X*_S. Independently of it, X*_S lies between the last concentration at which in most
packings the large ones jam alone, and the first one at which most of the small ones jam with them. There K jumps.

Reference: Petit, Kumar, Luding, Sperl, arXiv:2103.02557.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wavesim.granular.transition import JOINED


@dataclass(frozen=True)
class Meeting:
    """Concentrations: lower, the last with the large ones alone; upper, the first with all, None where none was
    measured; extrapolated, None where the distance does not fall; highest, of the largest phi_J. Bulk moduli: first and
    second, of both transitions at `lower`; joint, at `upper`."""

    lower: float
    upper: float | None
    extrapolated: float | None
    highest: float
    first: float
    second: float | None
    joint: float | None


def meeting(rows: Sequence[dict[str, Any]]) -> Meeting | None:
    """From the rows of a diagram of one size ratio; None where fewer than two have a second transition."""
    known = sorted((row for row in rows if row["packings"]), key=lambda row: row["small_fraction"])
    alone = [row for row in known if row["second"] > row["packings"] / 2]
    if len(alone) < 2:
        return None
    before, last = alone[-2:]
    joint = [row for row in known if row["small_fraction"] > last["small_fraction"] and row["carrying_small"] >= JOINED]
    step, fall = last["small_fraction"] - before["small_fraction"], before["distance"] - last["distance"]
    return Meeting(
        lower=last["small_fraction"],
        upper=joint[0]["small_fraction"] if joint else None,
        extrapolated=last["small_fraction"] + step * last["distance"] / fall if fall > 0 else None,
        highest=max(known, key=lambda row: float(row["phi_j"]))["small_fraction"],
        first=last["bulk_modulus"],
        second=last.get("bulk_modulus_2"),
        joint=joint[0]["bulk_modulus"] if joint else None,
    )
