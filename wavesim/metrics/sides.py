"""The kinds of sides that a measure must know of; see wavesim.config.Side."""

from __future__ import annotations

Sides = tuple[str, str, str, str]  # left, right, bottom, top: rigid, soft, periodic or absorbing
RIGID: Sides = ("rigid",) * 4


def along(sides: Sides) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two sides at the ends of each axis of an array, y first."""
    return sides[2:], sides[:2]
