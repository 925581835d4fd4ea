"""The tables and the figure of apriori.py, from its lines and its costs alone."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from apriori_arms import AS_LONG, CLASSICAL, NARROW, ONE_WAY, TWO_LAYERS
from apriori_claims import Rows, by_name, claims, fastest, filtered_classically, spread
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from wavesim.viz import style

SHORT = (CLASSICAL, ONE_WAY, "classical, 7 channels", TWO_LAYERS, *NARROW)
"""What the README shows."""
OF_RATIOS = "In the claims a ratio of errors stands with its interval of 95 % over seeds (Student's t, Welch)."
SAID = ("Equal error", "Encoders", "Faster", "Lower memory", "A twentieth", "Less overfitting")


def write(rows: Rows, cost: dict[str, Any], out: Path) -> None:
    """OUT/apriori.md, its summary.md, and apriori.png where there is something to draw."""
    about = f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; {len(rows)} trainings"
    lines = [
        f"{about}. Relative L2 of the pressure, over at most 32 trajectories: mean ± standard deviation over seeds; "
        "milliseconds are the smallest of interleaved runs on one thread: a frame in ONNX Runtime and in compiled "
        "loops (PyTorch in brackets where neither knows the network), and the mean step of a training in bfloat16 and "
        "in float32; "
        "seconds are the smallest of a whole training, on machines of several kinds that did other things too: they "
        f"compare nothing. {OF_RATIOS}"
    ]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        own = [row for row in rows if row["preset"] == preset and row["group"] != "data"]
        if own:
            lines += ["", f"## {preset}", "", *_table(own, cost)]
    for preset in dict.fromkeys(row["preset"] for row in rows if row["group"] == "data"):
        here = [row for row in rows if row["preset"] == preset]
        own = [row for row in here if row["group"] == "data"]
        whole = [{**row, "name": f"{row['name']}: all"} for row in here if row["name"] in (CLASSICAL, ONE_WAY)]
        lines += ["", f"## Fewer trajectories ({preset})", "", *_learning([*own, *whole])]
    lines += ["", "## The claims", "", *claims(rows, cost)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "apriori.md").write_text("\n".join(lines) + "\n")
    (out / "summary.md").write_text("\n".join(_summary(rows, cost)) + "\n")
    if any(row["preset"] == "packing" for row in rows):
        _figure([row for row in rows if row["preset"] == "packing" and row["size"] is None], cost, out / "apriori.png")


def _summary(rows: Rows, cost: dict[str, Any]) -> list[str]:
    """The most telling arms, and the claims of the abstract."""
    presets = list(dict.fromkeys(row["preset"] for row in rows))
    lines = [
        f"| arm | parameters | ms a frame | {' | '.join(presets)} |",
        "|---|" + "---:|" * (2 + len(presets)),
    ]
    for name in SHORT:
        own = [row for row in rows if row["name"] == name]
        if own:
            each = [[row for row in own if row["preset"] == preset] for preset in presets]
            errors = [_said(spread(some, "test", "one_crossing")) if some else "" for some in each]
            took = f"{fastest(cost[name]):.2f}" if name in cost else ""
            lines.append(f"| {name} | {own[0]['parameters']:,} | {took} | {' | '.join(errors)} |")
    seeds = set(Counter((row["name"], row["preset"]) for row in rows if row["name"] in SHORT).values())
    many = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{max(seeds, default=0)}"
    about = f"Relative L2 after one crossing: mean ± standard deviation over {many} seeds. {OF_RATIOS}"
    return [
        *lines,
        "",
        about,
        "",
        *(line for line in claims(rows, cost) if line.startswith(tuple(f"- *{said}" for said in SAID))),
    ]


def _said(pair: tuple[float, float | None]) -> str:
    return f"{pair[0]:.3f}" + ("" if pair[1] is None else f" ± {pair[1]:.3f}")


def _table(rows: Rows, cost: dict[str, Any]) -> list[str]:
    heads = (
        "group",
        "arm",
        "seeds",
        "parameters",
        "kB",
        "MMAC a frame",
        "first 10 frames",
        "one crossing",
        "last frame",
        "valid",
        "ms ONNX",
        "ms compiled",
        "ms a step",
        "in float32",
        "s training",
        "MB training",
        "MB frame",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for name, own in by_name(rows).items():
        first, price = own[0], cost.get(name.removesuffix(AS_LONG), {})  # the same network
        cells = [
            first["group"],
            name,
            str(len(own)),
            f"{first['parameters']:,}",
            f"{first['bytes'] / 1e3:.0f}",
            f"{first['macs'] / 1e6:.1f}",
            *(_said(spread(own, "test", key)) for key in ("first_frames", "one_crossing", "last_frame")),
            _said(spread(own, "valid", "one_crossing")),
        ]
        onnx, compiled, torch = (price.get(f"{kind}_milliseconds") for kind in ("onnx", "compiled", "torch"))
        cells.append(f"{onnx:.2f}" if onnx else f"({torch:.2f})" if torch else "")
        cells.append(f"{compiled:.2f}" if compiled else "")
        steps = (price.get(f"{kind}_milliseconds") for kind in ("training", "training_float32"))
        cells += [f"{step:.0f}" if step else "" for step in steps]
        cells.append(f"{min(row['seconds'] for row in own):.0f}")
        cells += [f"{price[f'{kind}_bytes'] / 1e6:.1f}" if price else "" for kind in ("training", "prediction")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _learning(rows: Rows) -> list[str]:
    lines = ["| arm | seeds | on what trained | on the test | apart |", "|---|---:|---:|---:|---:|"]
    for name, own in by_name(rows).items():
        seen, unseen = (spread(own, split, "one_crossing") for split in ("train", "test"))
        lines.append(f"| {name} | {len(own)} | {_said(seen)} | {_said(unseen)} | {unseen[0] - seen[0]:.3f} |")
    return lines


def _plainly(axis: Axis) -> None:
    """1, 2 and 5 of every decade, as numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


KINDS = {  # of the figure: whose filters are what, and how a point of it looks
    "classical filters: channels, taps": ("s", style.PALETTE[0]),
    "one-way filters (CP): ranks, taps": ("o", style.PALETTE[1]),
    "other one-way filters": ("o", style.PALETTE[4]),
    "classical, decomposed afterwards": ("D", style.PALETTE[3]),
    "U-Nets, kernels of space and time, classical": ("s", style.PALETTE[5]),
    "U-Nets, kernels of space and time, one-way": ("o", style.PALETTE[5]),
    "published networks, thinned": ("s", style.MUTED),
    "effective media, classical encoder": ("s", style.PALETTE[2]),
    "effective media, one-way encoder": ("o", style.PALETTE[2]),
}
NAMED = {  # and whether they are named above or below
    CLASSICAL: ("classical", -12),
    ONE_WAY: ("one-way", -12),
    "classical, 7 channels": ("thin classical", 6),
    TWO_LAYERS: ("effective", -12),
    NARROW[0]: ("narrow effective", 6),
}


def _kind(group: str, name: str) -> str:
    """Which of KINDS an arm is of."""
    classical = filtered_classically(name)
    if group in ("main", "thin"):
        return list(KINDS)[0 if classical else 1]
    if group in ("families", "afterwards"):
        return list(KINDS)[2 if group == "families" else 3]
    if name.endswith(", thinned"):
        return list(KINDS)[6]
    return list(KINDS)[(7 if name.startswith("effective") else 4) + (not classical)]


def _figure(rows: Rows, cost: dict[str, Any], path: Path) -> None:
    """Error after one crossing against parameters, multiply-accumulates, and milliseconds."""
    figure = style.blank(12, 5.2)
    axes = figure.subplots(1, 3, sharey=True)
    drawn: dict[str, Any] = {}
    for name, seeds in by_name([row for row in rows if row["group"] != "time"]).items():
        mean, deviation = spread(seeds, "test", "one_crossing")
        places = (seeds[0]["parameters"], seeds[0]["macs"] / 1e6, fastest(cost.get(name, {})))
        mark, colour = KINDS[kind := _kind(seeds[0]["group"], name)]
        for axis, x in zip(axes, places, strict=True):
            if not np.isfinite(x):
                continue
            drawn[kind] = axis.errorbar(x, mean, deviation, fmt=mark, color=colour, ms=4.5, capsize=2, lw=1)
            if name in NAMED:
                words, up = NAMED[name]
                axis.annotate(words, (x, mean), (5, up), textcoords="offset points", fontsize=8, color=style.INK)
    for axis, words in zip(axes, ("parameters", "MMAC a frame", "ms a frame, fastest runtime"), strict=True):
        axis.set_xscale("log")
        style.tidy(axis, words)
        _plainly(axis.xaxis)
    axes[0].set_yscale("log")
    _plainly(axes[0].yaxis)
    axes[0].set_ylabel("relative L2 after one crossing, packings", color=style.INK, fontsize=10)
    kinds = [kind for kind in KINDS if kind in drawn]
    figure.legend([drawn[kind] for kind in kinds], kinds, loc="outside lower center", ncols=3, fontsize=8.5,
                  frameon=False, labelcolor=style.INK)  # fmt: skip
    figure.savefig(path, dpi=style.DPI)
