"""The tables and figures of pruning.py, and its questions answered in words: from its lines alone."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

Rows = list[dict[str, Any]]
WORSE = 1.1  # times the error of the network as it came: what still counts as equal
AIM = {"stored_bytes": 100, "milliseconds": 10}  # times fewer, of the smallest pair, at that error
COLLAPSE = "sap (1, 2), global"
# Whose smallest densities are compared; there is no lottery ticket within output channels.
SCOPES = {
    "layer": ("sap", "sap (1, 2)", "lottery-ticket"),
    "global": ("sap, global", COLLAPSE, "lottery-ticket, global"),
    "neuron": ("sap (1, 2), neuron",),
}


def write(rows: Rows, out: Path) -> None:
    """OUT/pruning.md, and OUT/pruning_PRESET.png for each preset that there is something to draw of.

    What was refused is told with its reason, and is in no table.
    """
    refused, rows = [row for row in rows if "refused" in row], [row for row in rows if "refused" not in row]
    about = f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; {len(rows)} prunings"
    lines = [
        f"{about}. Errors are relative L2 of the pressure, in the mean over 32 frames of 8 trajectories of the test "
        "split, over those of the network as it came: mean ± standard deviation over seeds. Milliseconds are the "
        "smallest of a frame on one thread, after materialising and, in brackets, with the zeros still there. Steps "
        "are those of the optimiser in all rounds, beside those that the network had before."
    ]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        lines += ["", f"## {preset}", "", *_table([row for row in rows if row["preset"] == preset])]
        lines += _held_out([row for row in rows if row["preset"] == preset])
    if refused:
        lines += ["", "## What was refused", ""]
        lines += [f"- *{row['preset']}, {row['family']}*, {row['name']}, seed {row['seed']}: {row['refused']}"
                  for row in refused]  # fmt: skip
    lines += ["", "## The questions", "", *answers(rows)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "pruning.md").write_text("\n".join(lines) + "\n")
    for preset in dict.fromkeys(row["preset"] for row in rows):
        _figure([row for row in rows if row["preset"] == preset], out / f"pruning_{preset}.png")


def _arms(rows: Rows) -> dict[tuple[str, str], Rows]:
    """(family, name) -> its lines, one a seed."""
    keys = dict.fromkeys((row["family"], row["name"]) for row in rows)
    return {key: [row for row in rows if (row["family"], row["name"]) == key] for key in keys}


def _said(values: Sequence[float], digits: int = 2) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _table(rows: Rows) -> list[str]:
    heads = ("forecaster", "method", "seeds", "rounds", "steps", "density", "kB", "ms a frame", "error as it came",
             "times")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for (family, name), own in _arms(rows).items():
        last = [row["rounds"][-1] for row in own]
        cells = (
            family,
            name,
            str(len(own)),
            str(len(own[0]["rounds"]) - 1),
            f"{own[0]['iterations']:,}",
            _said([end["density"] for end in last], 3),
            _said([end["stored_bytes"] / 1e3 for end in last], 1),
            f"{min(end['milliseconds'] for end in last):.2f} ({min(end['masked_milliseconds'] for end in last):.2f})",
            _said([row["dense_test_error"] for row in own], 3),
            _said([row["test_error"] / row["dense_test_error"] for row in own]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _held_out(rows: Rows) -> list[str]:
    """How well what AutoSparse learned ranks the lifetimes of weights in layers that it has not seen."""
    lines = []
    for (family, name), own in _arms([row for row in rows if "held_out" in row]).items():
        found = [held for row in own for held in row["held_out"]]
        scorers = [key for key in found[0] if key not in ("held out", "weights")]
        said = ", ".join(f"{scorer} {_said([held[scorer] for held in found])}" for scorer in scorers)
        lines.append(f"- {family}, {name}: rank correlation with lifetimes held out, {said}.")
    return ["", *lines] if lines else []


def answers(rows: Rows) -> list[str]:
    """The questions, each answered as far as what it takes is there."""
    lines = []
    for preset in dict.fromkeys(row["preset"] for row in rows):
        arms = _arms([row for row in rows if row["preset"] == preset])
        for family in dict.fromkeys(family for family, _ in arms):
            here = f"*{preset}, {family}*"
            if collapse := arms.get((family, COLLAPSE)):
                lines.append(f"- {here}, the index as pruning goes on until it collapses: {_course(collapse)}.")
            for scope, names in SCOPES.items():
                there = {name: _least_density(arms[family, name]) for name in names if (family, name) in arms}
                if len(there) == len(names):
                    said = ", ".join(f"{name} {least:.2f}" for name, least in there.items())
                    lines.append(
                        f"- {here}, smallest density within {WORSE:g} times the error, in scope {scope}: {said}."
                    )
        both = [arms.get((family, "lottery-ticket")) for family in ("classical", "one-way")]
        if both[0] and both[1]:
            least = [_least_density(own) for own in both if own]
            word = "leaves less to prune" if least[1] > least[0] else "does not leave less to prune"
            lines.append(
                f"- *{preset}*: compression a priori {word}: by the lottery ticket the classical forecaster goes down "
                f"to a density of {least[0]:.2f} within {WORSE:g} times its error, the one-way one to {least[1]:.2f}."
            )
        lines += _winners(preset, arms)
    return lines or ["Not known yet: nothing is finished."]


def _course(own: Rows) -> str:
    """The mean index at its turns, and the error beside it."""
    index = np.mean([[round_["pq_index"] for round_ in row["rounds"]] for row in own], axis=0)
    error = np.mean([[round_["validation_error"] for round_ in row["rounds"]] for row in own], axis=0)
    step = np.sign(np.diff(index))
    turns = [0, *(k + 1 for k in range(len(step) - 1) if step[k] * step[k + 1] < 0), len(index) - 1]
    ways = {1.0: "rises", -1.0: "falls", 0.0: "stays"}
    legs = [
        f"{ways[float(np.sign(index[b] - index[a]))]} from {index[a]:.2f} to {index[b]:.2f} (round {b}, error "
        f"{error[b] / error[0]:.2f} times)"
        for a, b in pairwise(turns)
    ]
    return ", ".join(legs)


def _least_density(own: Rows) -> float:
    """Smallest density of a round, in the mean over seeds, with an error that still counts as equal; 1: none."""
    found = [
        min(
            r["density"] for r in row["rounds"] if r["validation_error"] <= WORSE * row["rounds"][0]["validation_error"]
        )
        for row in own
    ]
    return float(np.mean(found))


def _winners(preset: str, arms: dict[tuple[str, str], Rows]) -> list[str]:
    """The smallest and the fastest result that is as good as the classical forecaster before pruning, and the aim.

    As good is told by validation errors; the test errors of what they choose stand beside it.
    """
    classical = [row for (family, _), own in arms.items() if family == "classical" for row in own]
    if not classical:
        return []
    dense = {key: min(row["rounds"][0][key] for row in classical) for key in AIM}
    error = float(np.mean([row["rounds"][0]["validation_error"] for row in classical]))
    test_error = float(np.mean([row["dense_test_error"] for row in classical]))
    found = {}
    for (family, name), own in arms.items():
        if own[0]["group"] == "uncut":
            continue
        ends = [row["rounds"][-1] for row in own]
        if np.mean([end["validation_error"] for end in ends]) <= WORSE * error:
            gains = {key: dense[key] / float(np.mean([end[key] for end in ends])) for key in AIM}
            gains["test error"] = float(np.mean([row["test_error"] for row in own])) / test_error
            found[f"{family} pruned by {name}"] = gains
    aim = f"the aim, {AIM['stored_bytes']} times fewer stored bits and {AIM['milliseconds']} times fewer milliseconds"
    if not found:
        return [
            f"- *{preset}*: no pruned forecaster stays within {WORSE:g} times the classical one's error on validation "
            f"data; {aim}, is not met."
        ]
    said = [
        f"the {word} is {name}, {_gains(found[name])}"
        for word, key in (("smallest", "stored_bytes"), ("fastest", "milliseconds"))
        for name in [max(found, key=lambda one: found[one][key])]
    ]
    within = f"within {WORSE:g} times the error of the classical forecaster as it came"
    return [f"- *{preset}*: {within}, on validation data, {'; '.join(said)}.", f"- *{preset}*: {aim}, {_met(found)}."]


def _gains(gains: dict[str, float]) -> str:
    return (
        f"{gains['stored_bytes']:.1f} times fewer stored bits, {gains['milliseconds']:.1f} times fewer milliseconds, "
        f"{gains['test error']:.2f} times the error on test data"
    )


def _met(found: dict[str, dict[str, float]]) -> str:
    """By whom of those that are as good on validation data the aim is met, and whether the test data say so too."""
    there = [name for name, gains in found.items() if all(gains[key] >= least for key, least in AIM.items())]
    if not there:
        return "is not met"
    name = max(there, key=lambda one: found[one]["stored_bytes"])
    verdict = "is met by" if found[name]["test error"] <= WORSE else "is met on validation data alone, by"
    return f"{verdict} {name}: {_gains(found[name])}"


def _figure(rows: Rows, path: Path) -> None:
    """Validation error against density, bytes and milliseconds, and the index by round: a row of axes a family."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure = Figure(figsize=(14, 3.6 * len(families)), layout="constrained")
    grid = figure.subplots(len(families), 4, squeeze=False)
    across = (("density", "density"), ("stored_bytes", "stored bytes"), ("milliseconds", "ms a frame"))
    for line, family in zip(grid, families, strict=True):
        for (owner, name), own in _arms(rows).items():
            if owner != family:
                continue
            number = names.index(name)
            style = {"color": f"C{number % 10}", "marker": "osv^D<>"[number // 10], "ms": 3, "lw": 1}
            keys = ("density", "stored_bytes", "milliseconds", "validation_error", "pq_index")
            courses = {key: np.mean([[r[key] for r in row["rounds"]] for row in own], axis=0) for key in keys}
            for axis, (key, _) in zip(line, across, strict=False):
                axis.plot(courses[key], courses["validation_error"], label=name, **style)
            line[3].plot(courses["pq_index"], label=name, **style)
        for axis, (_, words) in zip(line, across, strict=False):
            axis.set(xscale="log" if words != "ms a frame" else "linear", yscale="log", xlabel=words)
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.yaxis.set_major_formatter(FormatStrFormatter("%.2g"))
            axis.yaxis.set_minor_formatter(NullFormatter())
        line[0].set_ylabel(f"{family}\nvalidation error")
        line[3].set(xlabel="round", ylabel="PQ index of what is left")
    handles = {drawn.get_label(): drawn for axis in grid[:, 0] for drawn in axis.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, dpi=110)
