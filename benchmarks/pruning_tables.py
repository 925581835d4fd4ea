"""The tables and figures of pruning.py, from its lines and what pruning_choice.py saw of chosen rounds."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pruning_answers
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, FuncFormatter, LogLocator, NullFormatter
from pruning_choice import AT_ONCE, REWOUND, TRAINED_ON, WITHIN, Row, Study, has_cut, said, steps_on

DENSITIES = (0.5, 0.3, 0.1)
AFTER = (0, 4, 8, 12)  # trainings that go on
INDEX = [1.0, 2.0]  # exponents of what is drawn
COLOURS = list(colormaps["tab20"](np.r_[0:20:2, 1:20:2]))  # the strong ones first


def write(study: Study, out: Path) -> None:
    """OUT/pruning.md, and OUT/pruning_PRESET.png for each preset that there is something to draw of.

    What was refused is told with its reason; the rounds before it are in the tables like others.
    """
    refused = [row for row in study.rows if "refused" in row]
    study = Study([row for row in study.rows if row.get("rounds")], study.judged)
    about = f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; {len(study.rows)} prunings"
    lines = [
        f"{about}. Errors are relative L2 of the pressure, in the mean over 32 frames; *times* is an error over that "
        "of the uncut forecaster after as many optimiser steps. All is mean ± standard deviation over seeds. Steps "
        "are those beyond the forecaster's own; after a rewind there are none."
    ]
    for preset in dict.fromkeys(row["preset"] for row in study.rows):
        here = study.of_preset(preset)
        lines += ["", f"## {preset}", "", *_uncut(here), "", *_smallest(here), "", *_at_densities(here)]
        lines += _held_out(here)
        figure(here, out / f"pruning_{preset}.png")
    if refused:
        lines += ["", "## What was refused", ""]
        lines += [f"- *{row['preset']}, {row['family']}*, {row['name']}, seed {row['seed']}, in round "
                  f"{max(len(row['rounds']), 1)}: {row['refused']}" for row in refused]  # fmt: skip
    lines += ["", "## The questions", "", *pruning_answers.answers(study)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "pruning.md").write_text("\n".join(lines) + "\n")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    line = "|" + "---|" * texts + "---:|" * (len(heads) - texts)
    return [f"| {' | '.join(heads)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]


def _uncut(study: Study) -> list[str]:
    """The forecasters as they came, and their errors after more training."""
    rows = []
    for (family, name), own in study.arms(uncut=True).items():
        if name != TRAINED_ON:
            continue
        first = [row["rounds"][0] for row in own]
        other = {name: [one["validation_error"] for row in study.rows for one in row["rounds"][1:]
                        if (row["family"], row["name"]) == (family, name)] for name in (REWOUND, AT_ONCE)}  # fmt: skip
        ends = [said([row["rounds"][k]["validation_error"] for row in own if k < len(row["rounds"])], 3) for k in AFTER]
        size = f"{first[0]['stored_bytes'] / 1e3:.1f}"
        fastest = f"{min(end['milliseconds'] for end in first):.3f}"
        rows.append([family, str(len(own)), f"{first[0]['parameters']:,}", size, fastest, ends[0],
                     *(said(errors, 3) for errors in other.values()), *ends[1:]])  # fmt: skip
    each = next((steps_on(row, 1) for row in study.rows if row["name"] == TRAINED_ON and len(row["rounds"]) > 1), 0)
    heads = ["forecaster", "seeds", "weights", "kB", "ms a frame, 32 x 32", "validation error", "trained again",
             "on at once", *(f"{each * k:,} steps on" for k in AFTER[1:])]  # fmt: skip
    return _table(heads, rows, 1)


def _smallest(study: Study) -> list[str]:
    """How far each method goes, in the last round that is as good as what is uncut."""
    rows = []
    for (family, name), own in study.arms().items():
        found = [(row, number) for row in own if (number := study.last_within(row)) and has_cut(row, number)]
        cells = [family, name, f"{len(found)} of {len(own)}"]
        if not found:
            tried = (study.times(row, k) for row in own for k in range(len(row["rounds"])) if has_cut(row, k))
            best = min(filter(None, tried), default=0)
            rows.append([*cells, "", "", "", "", f"best {best:.2f}" if best else "", ""])
            continue
        ends = [row["rounds"][number] for row, number in found]
        more = "≤ " if all(number == len(row["rounds"]) - 1 for row, number in found) else ""
        seen = [study.judged.get((row["key"], number), {}).get("milliseconds") for row, number in found]
        times = [value for value in seen if value]
        cells += [
            more + said([end["density"] for end in ends], 3),
            said([end["stored_bytes"] / 1e3 for end in ends], 2),
            f"{min(times):.3f}" if times else "",
            said([steps_on(row, number) for row, number in found], 0),
            said([study.times(row, number) for row, number in found]),
            said([study.test_times(row, number) for row, number in found]),
        ]
        rows.append(cells)
    heads = ("forecaster", "method", "seeds", "density", "kB", "ms a frame, 64 x 64", "steps", "times, validation",
             "times, test")  # fmt: skip
    about = f"The last round within {WITHIN:g} times the error of what is uncut; ≤: in no seed did a round fail."
    return [about, "", *_table(heads, rows, 2)]


def _at_densities(study: Study) -> list[str]:
    """Every method at the same densities, between its rounds where it has no such one."""
    rows = []
    for (family, name), own in study.arms().items():
        if own[0]["group"] == "controls":
            continue
        at = [said([times_at(study, row, density) for row in own]) for density in DENSITIES]
        if any(at):
            rows.append([family, name, *at])
    heads = ("forecaster", "method", *(f"at {density:g}" for density in DENSITIES))
    return ["Times, on validation data, at the same densities.", "", *_table(heads, rows, 2)]


def times_at(study: Study, row: Row, density: float) -> float | None:
    """Times at a density, linear between rounds in both logarithms; nothing where rounds do not come to it.

    What is cut at once is known at its own density alone.
    """
    points = [(r["density"], study.times(row, k)) for k, r in enumerate(row["rounds"])]
    if len(points) == 2:
        return points[1][1] if abs(np.log(points[1][0] / density)) <= np.log(1.03) else None
    for (one, above), (other, below) in pairwise(points):
        between = other <= 1.03 * density and density <= 1.03 * one  # rounds leave whole numbers of weights
        if above and below and between:
            share = np.clip(np.log(one / density) / np.log(one / other), 0, 1) if one > other else 1.0
            return float(above * (below / above) ** share)
    return None


def _held_out(study: Study) -> list[str]:
    """How well what AutoSparse learned ranks the lifetimes of weights that it has not seen."""
    lines = []
    for (family, name), own in study.arms().items():
        own = [row for row in own if "held_out" in row]
        if not own or "shuffled" in name:
            continue
        layers = [held for row in own for held in row["held_out"] if held["held out"] == "layers"]
        for what, found in (
            ("of layers held out", layers),
            ("of the forecaster that it prunes", [r["pupil"] for r in own]),
        ):
            scorers = [key for key in found[0] if key not in ("held out", "weights")]
            words = ", ".join(f"{scorer} {said([held[scorer] for held in found])}" for scorer in scorers)
            lines.append(f"- {family}, {name}: rank correlation with the lifetimes {what}, {words}.")
    return ["", *lines] if lines else []


def figure(study: Study, path: Path) -> None:
    """Times against density, bytes and milliseconds, and the index by round: a row of axes a forecaster."""
    arms = {key: own for key, own in study.arms().items() if own[0]["group"] != "controls"}
    families, names = list(dict.fromkeys(f for f, _ in arms)), list(dict.fromkeys(n.split(", 0.")[0] for _, n in arms))
    if not families:
        return
    drawn = Figure(figsize=(15, 4 * len(families) + 1.5), layout="constrained")
    grid = drawn.subplots(len(families), 4, squeeze=False)
    across = (("density", "density"), ("stored_bytes", "stored bytes"), ("milliseconds", "ms a frame, 32 x 32"))
    for line, family in zip(grid, families, strict=True):
        for (owner, name), own in arms.items():
            if owner != family:
                continue
            place = names.index(name.split(", 0.")[0])
            style: dict[str, Any] = {"color": COLOURS[place % 20], "marker": "osv"[place // 20], "ms": 3, "lw": 1}
            rounds = min(len(row["rounds"]) for row in own)
            mean = {key: [np.mean([row["rounds"][k][key] for row in own]) for k in range(rounds)]
                    for key in ("density", "stored_bytes", "milliseconds", "pq_index")}  # fmt: skip
            times = [np.mean([study.times(row, k) or np.nan for row in own]) for k in range(rounds)]
            style["label"] = name.split(", 0.")[0]
            start = 0 if rounds > 2 else 1  # what is cut at once is a point
            for axis, (key, _) in zip(line, across, strict=False):
                joined = "none" if key == "milliseconds" else "-"  # taken under whatever load there was
                axis.plot(mean[key][start:], times[start:], ls=joined, **style)
            if rounds > 2 and own[0]["exponents"] == INDEX:
                line[3].plot(mean["pq_index"], **style)
        for axis, (_, words) in zip(line, across, strict=False):
            axis.axhline(WITHIN, color="0.6", lw=0.8, zorder=0)
            axis.set(xscale="linear" if "ms" in words else "log", yscale="log", xlabel=words, ylim=(None, 6))
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
            axis.yaxis.set_major_formatter(FormatStrFormatter("%.2g"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            if axis.get_xscale() == "log":
                low, high = axis.get_xlim()  # over more than a decade and a half 2 and 5 would lie on each other
                axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
                axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
                axis.xaxis.set_minor_formatter(NullFormatter())
        line[0].set_ylabel(f"{family}\ntimes the error of what is uncut")
        line[3].set(xlabel="round", ylabel="PQ index (1, 2) of what is left,\nmean over what is compared")
    handles = {line.get_label(): line for axis in grid[:, 0] for line in axis.get_lines() if line.get_label()[0] != "_"}
    drawn.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=100)
