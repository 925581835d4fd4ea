"""The tables of pareto.py and its sentences, from its lines alone.

Who is held against whom is told in pareto_panels.py; errors that are not claimed are written with a <. With D the
seconds of a forecaster's data (packings and truth), T those of its training, t milliseconds a crossing, it has paid
after 1000 (D + T) / (t_solver - t_forecaster) crossings; in media that are all new, what a medium costs once is added
to both t.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pareto_panels import CLAIMED, Lines, Panel, Rival, Row, fronts, panels, ranges, trained_there

AIM = 50.0  # times cheaper than the cheapest solver of equal error, which the project is after
# At contrast (20, 5): the error after one crossing, and VRMSE by windows of frames.
HARDEST, ERROR, VRMSE = (20.0, 5.0), 0.05, {"6-12": 0.03, "13-30": 0.06}


def sentence(panel: Panel, batch: int = 1) -> str:
    """Who wins, by how much and how far that is known, at which error, and when a forecaster has paid in new media."""
    where, pair = f"At {panel.scenario.name}", panel.best(batch)
    if pair is None:
        reached = min((row.one for row in panel.rows if not row.forecasts and row.cost(batch) > 0), default=None)
        ahead = min(
            (row for row in panel.rows if row.forecasts and row.cost(batch) > 0), key=lambda row: row.one, default=None
        )
        if reached is None:
            return ""
        if ahead is None:
            return f"{where} no forecaster has run; the best solver reaches {_said(reached, panel)}."
        return f"{where} no solver that ran is as good as `{ahead.name}`, {_said(ahead.one, panel)} at one crossing."
    forecaster, solver = pair
    ours, theirs = forecaster.cost(batch), solver.milliseconds
    known = panel.known(forecaster, batch)
    said = _said(forecaster.one, panel)
    if known and not said.startswith("<"):
        said = f"{said[:-1]} ± {100 * known.error:.{1 if forecaster.one >= 0.1 else 2}f}%"
    error = f"at an error of {said} after one crossing"
    costs = f"`{forecaster.name}` takes {_number(ours)} ms a crossing, {solver.name} {_number(theirs)} ms"
    if forecaster.one >= 1:  # no more than a forecast of zeros
        return f"{where} `{forecaster.name}` is of no use, {error}, where a field of zeros is at 100%."
    gain, ends = theirs / ours, (known.low, known.high) if known else (theirs / ours,) * 2
    if ends[0] <= 1 <= ends[1]:
        who = f"the two are even, {_number(gain)} times"
    elif gain > 1:
        who = f"the forecaster wins by {_number(gain)} times"
    else:
        who, ends = f"the solver wins by {_number(1 / gain)} times", (1 / ends[1], 1 / ends[0])
    told = [f"{_number(ends[0])} to {_number(ends[1])} {known.over}"] if known else []
    told += [f"the aim is {AIM:g}"] if gain < AIM else []
    brackets = f" ({'; '.join(told)})" if told else ""
    return f"{where} {who}{brackets}, {error}: {costs}.{_when_paid(forecaster, solver)}"


def _when_paid(row: Row, other: Rival) -> str:
    """Where what both took is told."""
    if not (after := _paid(row, other)[1]):
        return ""
    once = f"once {_number(sum(row.once.values()))} s, the solver {_number(sum(other.once.values()))} s"
    back = "never paid back" if after == "never" else f"paid back after {after} of them"
    return f" With a new medium at each crossing ({once}) data and training are {back}."


def aims(panel: Panel) -> str:
    """How the best forecaster stands to what the project is after."""
    if panel.scenario.contrast != HARDEST or not panel.scenario.main or (pair := panel.best()) is None:
        return ""
    row, rival = pair
    gain = rival.milliseconds / row.cost()
    told = [f"{_said(row.one, panel)} after one crossing ({ERROR:.0%}: {_met(row.one <= ERROR)})"]
    told += [f"{_number(gain)} times cheaper ({AIM:g}: {_met(gain >= AIM)})"]
    told += [f"VRMSE {row.vrmse[key]:.3f} over frames {key} ({most:g}: {_met(row.vrmse[key] < most)})"
             for key, most in VRMSE.items() if key in row.vrmse]  # fmt: skip
    return f"The aims at {panel.scenario.name}, by `{row.name}`: {', '.join(told)}."


def _met(there: bool) -> str:
    return "met" if there else "missed"


def write(lines: Lines, path: Path, several: int) -> None:
    """The tables of all panels."""
    found = panels(lines)
    taken = {(row.taken[0], row.taken[1][:10]) for panel in found for row in panel.rows if row.cost(several) > 0}
    told = [" on ".join(one) if one[1] else "a machine that earlier lines do not name" for one in sorted(taken)[::-1]]
    answers = [f"- {words}" for say in (sentence, aims) for panel in found if (words := say(panel))]
    text = [
        f"One thread of {' and '.join(told)}. Relative L2 of pressure over the grid's cells, means over media and "
        "bursts; single precision. Milliseconds of the processor a simulated crossing, the least of runs in turns "
        f"(median in brackets), of one simulation and of one in a batch of {several}; elements run frame by frame, "
        "cells a crossing at a call. Once: seconds a medium. No error is claimed below "
        f"{CLAIMED:g} times the truth's own (<). Tensors of order 4 have the published spread, or the one that errs "
        "least in a packing that does not test.",
        "",
        *answers,
        "",
        f"In batches of {several}, or one by one where that is cheaper:",
        "",
        *_in_batches(found, several),
    ]
    for panel in found:
        text += ["", f"## {panel.scenario.name[0].upper()}{panel.scenario.name[1:]}", "", *_panel(panel, several)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text) + "\n")
    path.with_name("summary.md").write_text("\n".join([*answers, "", *summary(found)]) + "\n")


def _in_batches(found: Sequence[Panel], several: int) -> list[str]:
    heads = ("", "forecaster", "one crossing", "ms a crossing", "cheapest solver of equal error", "ms a crossing")
    lines = [f"| {' | '.join((*heads, 'times cheaper'))} |", "|---|---|---:|---:|---|---:|---:|"]
    for panel in found:
        if pair := panel.best(several):
            row, rival = pair
            known, gain = panel.known(row, several), _number(rival.milliseconds / row.cost(several))
            told = f" ({_number(known.low)} to {_number(known.high)})" if known else ""
            ours, theirs = _number(row.cost(several)), _number(rival.milliseconds)
            cells = (panel.scenario.name, f"`{row.name}`", _said(row.one, panel), ours, rival.name, theirs, gain + told)
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def summary(found: Sequence[Panel]) -> list[str]:
    """Of each forecaster at each scenario: how many times cheaper than the cheapest solver that is as good, and its
    error after one crossing; in bold where it was trained there."""
    names = dict.fromkeys(row.name for panel in found for row in panel.rows if row.forecasts)
    scenarios = [panel.scenario.name.removeprefix("contrast ") for panel in found]
    lines = [f"| trained at | forecaster | {' | '.join(scenarios)} |", "|---|---|" + "---|" * len(found)]
    for name in names:
        cells, trained = [], ""
        for panel in found:
            row = next((row for row in panel.rows if row.name == name), None)
            cells.append("" if row is None else _in_short(row, panel))
            trained = trained if row is None else _trained_at(row)
        lines.append(f"| {trained} | `{name}` | {' | '.join(cells)} |")
    return lines


def _in_short(row: Row, panel: Panel) -> str:
    if row.refused:
        return "unstable" if "unstable" in row.refused else "refused"
    if not row.cost() > 0:
        return ""
    if row.one >= 1:
        return f"of no use, {_said(row.one, panel)}"
    solver = panel.equal(row)
    gain = "no solver as good" if solver is None else f"{_number(solver.milliseconds / row.cost())} times"
    words = f"{gain}, {_said(row.one, panel)}"
    return f"**{words}**" if trained_there(row.run["trained"], panel.scenario) else words


def _panel(panel: Panel, several: int) -> list[str]:
    degree, cells, steps = (sorted({line[key] for line in panel.truths}) for key in ("degree", "cells", "steps"))
    once = np.mean([line["meshing"] + line["assembly"] for line in panel.truths])
    simulations = max((len(row.each) for row in panel.rows), default=0)
    lines = [
        f"{panel.media} media, {simulations} simulations. Truth: conforming, degree {_range(degree)} on "
        f"{_range(cells)} cells, {_range(steps)} steps a frame, {once:.0f} s a medium; its own error, of the first "
        f"burst through each, is {panel.truth[0]:.2%} at half a crossing and {panel.truth[1]:.2%} at one, so that "
        f"nothing below {panel.floor:.2%} is claimed.",
        "",
    ]
    windows = [key for row in panel.rows[:1] for key in row.vrmse if key.split("-")[0] in ("6", "13")]
    heads = ["", "half", "one crossing", *(f"VRMSE {key}" for key in windows), "ms a crossing", f"batch {several}"]
    heads += ["once, s", "steps a frame", "unknowns or weights", "start or runtime"]
    lines += [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 2) + "---|"]
    best = {row.name for row in fronts(panel)}
    for row in sorted(panel.rows, key=lambda row: (row.forecasts, row.cost() if row.cost() > 0 else 0.0)):
        if row.refused:
            lines.append(f"| {row.name} | {row.refused} |" + " |" * (len(heads) - 2))
            continue
        name = f"**{row.name}**" if row.name in best else row.name
        cells_ = [_about(name, row), _said(row.half, panel, 0), _said(row.one, panel)]
        cells_ += [f"{row.vrmse[key]:.3f}" if key in row.vrmse else "" for key in windows]
        cells_ += [f"{_number(least)} ({_number(median)})" for least, median in row.milliseconds.values()] or ["", ""]
        cells_ += [""] * (3 + len(windows) + 2 - len(cells_))
        size = row.run.get("parameters") if row.forecasts else row.unknowns
        cells_ += [
            ", ".join(f"{part} {value:.2g}" for part, value in row.once.items()),
            str(row.steps or ""),
            f"{size:,}" if size else "",
        ]
        lines.append(f"| {' | '.join([*cells_, row.runtime if row.forecasts else START.get(row.start, '')])} |")
    lines += ["", "In bold: the two fronts.", *_break_even(panel)]
    return lines


START = {"state": "the truth's first frame", "bursts": "bursts"}


def _about(name: str, row: Row) -> str:
    trained = _trained_at(row)
    return f"{name}, trained at {trained}" if trained else name


def _trained_at(row: Row) -> str:
    trained = row.run.get("trained") or []
    told = [" to ".join(f"{end:g}" for end in dict.fromkeys(ends)) for ends in ranges(trained)]
    return f"({', '.join(told)})" if told else ""


def _break_even(panel: Panel) -> list[str]:
    rows = [row for row in panel.rows if row.forecasts and row.cost() > 0]
    if not rows:
        return []
    heads = ("forecaster", "cheapest solver of equal error", "times cheaper", "data, s", "training, s")
    heads += ("paid after crossings", "in new media")
    lines = ["", f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in rows:
        other, spent = panel.equal(row), row.run["seconds"]
        cells = [row.name, "none reaches it" if other is None else other.name]
        cells.append("" if other is None else f"{other.milliseconds / row.cost():.2g}")
        cells += [f"{spent[key]:.0f}" if key in spent else "not told" for key in ("data", "training")]
        lines.append(f"| {' | '.join([*cells, *_paid(row, other)])} |")
    return lines


def _paid(row: Row, other: Rival | None) -> list[str]:
    """Crossings after which data and training have paid, in one medium and in new ones."""
    if other is None or not {"data", "training"} <= row.run["seconds"].keys():
        return ["", ""]
    spent = 1e3 * (row.run["seconds"]["data"] + row.run["seconds"]["training"])
    gains = (
        other.milliseconds - row.cost(),
        other.milliseconds - row.cost() + 1e3 * (sum(other.once.values()) - sum(row.once.values())),
    )
    return ["never" if gain <= 0 else f"{spent / gain:,.0f}" for gain in gains]


def _said(error: float, panel: Panel, at: int = 1) -> str:
    floor = CLAIMED * panel.truth[at]
    return f"< {floor:.2%}" if error < floor else f"{error:.2%}" if error < 0.1 else f"{error:.1%}"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
