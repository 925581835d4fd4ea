"""What pareto.py has found, scenario by scenario: rows of solvers and forecasters, and who is held against whom.

An error below five times the truth's own is not claimed: it counts as that much. A solver has equal error to a
forecaster where its claimed error after one crossing is no larger; the cheapest such is what the forecaster is held
against. Solvers run on any grid: between two sizes of one kind that were measured, one that is worse than the
forecaster and one that is better, the cost is taken from a straight line of its logarithm over that of the error.

Both run in the same media. How far the gain is known is its jackknife's standard error over these (over the bursts,
where there is one medium), in logarithms: all of it is done again without each of them in turn. Where the gain is no
further from one, the two are even. Of two media the gain in each of them is told instead.

Reference: Efron and Stein, Annals of Statistics 9 (1981) 586-596.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pareto_cases import FREQUENCY, SCENARIOS, Scenario

Lines = Sequence[dict[str, Any]]
CLAIMED = 5.0  # times the truth's own error


def ranges(trained: list[Any]) -> list[tuple[float, float]]:
    """Least and most (kappa, rho) of the grains that a forecaster was trained on."""
    return [(ends[0], ends[1]) if isinstance(ends, list) else (ends, ends) for ends in trained]


def trained_there(trained: list[Any] | None, scenario: Scenario) -> bool:
    """Whether a forecaster has seen this contrast, and nothing else is another; yes where nobody knows."""
    at_home = scenario.usual and scenario.frequency == FREQUENCY
    return trained is None or (
        at_home
        and all(least <= value <= most for value, (least, most) in zip(scenario.contrast, ranges(trained), strict=True))
    )


@dataclass(frozen=True)
class Row:
    """One solver or forecaster in one scenario: means over media and bursts. start: of the two of a solver, the better
    one. milliseconds: batch -> a simulated crossing, least and median, taken in one medium, times the mean of the steps
    in all media over its own; taken: on which machine, and when; once: seconds
    a medium, by what takes them; run: what it says of itself; each: error after one crossing by (packing, burst);
    refused: why it has no errors in some medium."""

    name: str
    run: dict[str, Any]
    half: float
    one: float
    vrmse: dict[str, float]
    start: str
    steps: int | None
    unknowns: int | None
    milliseconds: dict[int, tuple[float, float]]
    taken: tuple[str, str]
    once: dict[str, float]
    runtime: str
    each: dict[tuple[str, int], float]
    refused: str = ""

    @property
    def forecasts(self) -> bool:
        return self.run["kind"] == "forecaster"

    def cost(self, batch: int = 1) -> float:
        """Milliseconds a crossing in batches of up to so many; not a number where there are none, or no errors."""
        least = [taken[0] for size, taken in self.milliseconds.items() if size <= batch]
        return np.nan if self.refused else min(least, default=np.nan)

    def without(self, some: set[tuple[str, int]]) -> Row:
        """The same without some of the simulations."""
        left = [error for key, error in self.each.items() if key not in some]
        return replace(self, one=float(np.mean(left or np.nan)))


@dataclass(frozen=True)
class Rival:
    """A solver that a forecaster is held against: milliseconds a crossing, and seconds a medium, by what takes them.

    of: the one row that it is, or the two that it lies between.
    """

    name: str
    milliseconds: float
    once: dict[str, float]
    of: tuple[Row, ...]


@dataclass(frozen=True)
class Known:
    """How far: a gain less and more its standard error, that of the error after one crossing, and over what; of two
    media the smaller and the larger gain."""

    low: float
    high: float
    error: float
    over: str


@dataclass(frozen=True)
class Panel:
    """A scenario's rows; truth: its own error at half and at one crossing, the largest over the media."""

    scenario: Scenario
    rows: list[Row]
    truth: tuple[float, float]
    media: int
    truths: list[dict[str, Any]]

    @property
    def floor(self) -> float:
        """Below which no error at one crossing is claimed."""
        return CLAIMED * self.truth[1]

    def claimed(self, row: Row) -> float:
        return max(row.one, self.floor)

    def equal(self, row: Row, batch: int = 1) -> Rival | None:
        """The cheapest solver that is as good."""
        kinds: dict[tuple[Any, ...], list[Row]] = {}
        for one in self.rows:
            if not one.forecasts and one.cost(batch) > 0:
                kind = tuple(one.run.get(key) for key in ("family", "degree", "order"))
                kinds.setdefault(kind, []).append(one)
        able = [rival for some in kinds.values() if (rival := self._of_kind(some, row, batch))]
        return min(able, key=lambda one: one.milliseconds, default=None)

    def _of_kind(self, rows: Sequence[Row], row: Row, batch: int) -> Rival | None:
        """The cheapest of one kind, also between two of its sizes."""
        error, found, sizes = self.claimed(row), [], dict[Any, Row]()
        for one in sorted(rows, key=self.claimed, reverse=True):
            sizes[one.run.get("elements", one.name)] = one  # of each size the one of the best spread
        rows = list(sizes.values())
        good = [one for one in rows if self.claimed(one) <= error]
        if not good:
            return None
        better = min(good, key=lambda one: one.cost(batch))
        found.append(Rival(better.name, better.cost(batch), better.once, (better,)))
        if cheaper := [one for one in rows if one.cost(batch) < better.cost(batch)]:
            worse = min(cheaper, key=self.claimed)
            far, near = (np.log(self.claimed(one)) for one in (worse, better))
            share = (far - np.log(error)) / (far - near)
            cost = worse.cost(batch) ** (1 - share) * better.cost(batch) ** share
            if share < 1:
                name = f"between {worse.name} and {better.name}"
                found.append(Rival(name, float(cost), better.once, (worse, better)))
        return min(found, key=lambda one: one.milliseconds)

    def best(self, batch: int = 1) -> tuple[Row, Rival] | None:
        """The forecaster with the largest gain over the solver of equal error, and that solver; of those that are
        trained on this contrast where there are any."""
        able = [row for row in self.rows if row.forecasts and row.cost(batch) > 0]
        own = [row for row in able if trained_there(row.run["trained"], self.scenario)]
        pairs = [(row, other) for row in own or able if (other := self.equal(row, batch))]
        return max(pairs, key=lambda pair: pair[1].milliseconds / pair[0].cost(batch), default=None)

    def known(self, row: Row, batch: int = 1) -> Known | None:
        """The gain of a forecaster; None of one simulation, or where no solver is as good without some medium."""
        packings = {packing for packing, _ in row.each}
        parts = [{key for key in row.each if key[0] == packing} for packing in packings]
        if len(parts) == 1:
            parts = [{key} for key in row.each]
        found = []
        for part in parts if len(parts) > 1 else ():
            less = replace(self, rows=[one.without(part) for one in self.rows])
            own = row.without(part)
            if (rival := less.equal(own, batch)) is None:
                return None
            found.append((np.log(rival.milliseconds / own.cost(batch)), own.one))
        if not found or (rival := self.equal(row, batch)) is None:
            return None
        gain, error = (len(found) - 1) ** 0.5 * np.std(found, axis=0)
        middle, media = rival.milliseconds / row.cost(batch), len(packings)
        if len(found) == 2:
            low, high = sorted(np.exp([gain for gain, _ in found]).tolist())
            return Known(low, high, float(error), f"in its two {'media' if media > 1 else 'simulations'}")
        over = f"by a standard error over {f'{media} media' if media > 1 else f'{len(found)} bursts'}"
        return Known(float(middle * np.exp(-gain)), float(middle * np.exp(gain)), float(error), over)


def panels(lines: Lines) -> list[Panel]:
    """Those of the scenarios that have been begun."""
    models = {line["run"]["name"]: line["run"] for line in lines if line["kind"] == "model"}
    found = []
    for scenario in SCENARIOS:
        own = [line for line in lines if line.get("scenario") == scenario.name]
        truths = [line for line in own if line["kind"] == "truth"]
        runs: dict[str, list[dict[str, Any]]] = {}
        for line in own:
            if line["kind"] in ("errors", "time") and _of_now(line["run"], models):
                runs.setdefault(line["run"]["name"], []).append(line)
        if truths:
            error = max(line["half"] for line in truths), max(line["one"] for line in truths)
            rows = [_row(some, models.get(name, some[0]["run"])) for name, some in runs.items()]
            found.append(Panel(scenario, rows, error, len(truths), truths))
    return found


def _of_now(run: dict[str, Any], models: dict[str, dict[str, Any]]) -> bool:
    """Whether a line is not of an earlier file of a model's name."""
    return run["kind"] == "solver" or models[run["name"]]["fingerprint"] == run["fingerprint"]


def _row(lines: Lines, run: dict[str, Any]) -> Row:
    errors, times = ([line for line in lines if line["kind"] == kind] for kind in ("errors", "time"))
    refused = next((line["refused"] for line in errors if "refused" in line), "")
    errors = [line for line in errors if "refused" not in line]
    means = {
        start: {
            key: float(np.mean([error for line in errors for error in line[start][key]])) for key in ("half", "one")
        }
        for start in ("state", "bursts")
        if errors and all(start in line for line in errors)
    }
    start = min(means, key=lambda name: means[name]["one"], default="")
    windows = {
        key: float(np.mean([line[start]["vrmse"][key] for line in errors])) for key in errors[0][start]["vrmse"]
    } if errors else {}  # fmt: skip
    seconds = [line["seconds"] for line in [*errors, *times] if "seconds" in line]
    steps = {line["packing"]: line["steps"] for line in errors if line.get("steps")}
    share = {packing: float(np.mean(list(steps.values()))) / own for packing, own in steps.items()}
    taken = {}
    for line in times:
        times_own = share.get(line.get("packing"), 1.0)
        taken[line["batch"]] = times_own * line["milliseconds"], times_own * line["median"]
    parts = list(dict.fromkeys(part for one in seconds for part in one))
    return Row(
        run["name"],
        run,
        means[start]["half"] if errors else np.nan,
        means[start]["one"] if errors else np.nan,
        windows,
        start,
        max(steps.values(), default=None),
        max((line["unknowns"] for line in errors if "unknowns" in line), default=None),
        taken,
        next(((line.get("machine", ""), line.get("taken", "")) for line in times), ("", "")),
        {part: float(np.mean([one[part] for one in seconds])) for part in parts},
        next((line["runtime"] for line in times if line["batch"] == 1), ""),
        {(line["packing"], burst): error for line in errors for burst, error in enumerate(line[start]["one"])},
        refused,
    )


def decisive(panel: Panel, batches: Sequence[int]) -> list[Row]:
    """What stands on the front of solvers or of forecasters at some batch, and what forecasters are held against."""
    found = {row.name: row for batch in batches for row in fronts(panel, batch)}
    for batch in batches:
        rivals = [panel.equal(row, batch) for row in panel.rows if row.forecasts and row.cost(batch) > 0]
        found |= {row.name: row for rival in rivals if rival for row in rival.of}
    return list(found.values())


def fronts(panel: Panel, batch: int = 1) -> list[Row]:
    """That of the solvers, and that of the forecasters."""
    sides = [[row for row in panel.rows if row.forecasts == forecasts] for forecasts in (False, True)]
    return [row for rows in sides for row in front(rows, panel, batch)]


def front(rows: Sequence[Row], panel: Panel, batch: int = 1) -> list[Row]:
    """Those that no other of them beats both in cost and in claimed error, cheapest first."""
    best, found = np.inf, []
    for row in sorted((row for row in rows if row.cost(batch) > 0), key=lambda row: (row.cost(batch), row.one)):
        if panel.claimed(row) < best:
            best = panel.claimed(row)
            found.append(row)
    return found
