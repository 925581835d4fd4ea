"""The tables and the figure of apriori.py, from its lines and its costs alone."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from apriori_arms import CLASSICAL, ONE_WAY, TWO_LAYERS
from apriori_claims import NARROW, Rows, by_name, claims, fastest, filtered_classically, spread
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

SHORT = (CLASSICAL, ONE_WAY, "classical, 7 channels", TWO_LAYERS, *NARROW)
"""What the README shows."""
SAID = ("Equal error", "Encoders", "Faster prediction", "A twentieth")


def write(rows: Rows, cost: dict[str, Any], out: Path) -> None:
    """OUT/apriori.md, its summary.md, and apriori.png where there is something to draw."""
    about = f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; {len(rows)} trainings"
    lines = [
        f"{about}. Relative L2 of the pressure, over at most 32 trajectories: mean ± standard deviation over seeds; "
        "milliseconds are the smallest of interleaved runs on one thread: a frame in ONNX Runtime and in compiled "
        "loops (PyTorch in brackets where neither knows the network), and a training step of 2 frames of batch 4."
    ]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        own = [row for row in rows if row["preset"] == preset and row["group"] != "data"]
        if own:
            lines += ["", f"## {preset}", "", *_table(own, cost)]
    for preset in dict.fromkeys(row["preset"] for row in rows if row["group"] == "data"):
        own = [row for row in rows if row["preset"] == preset and row["group"] == "data"]
        lines += ["", f"## Fewer trajectories ({preset})", "", *_learning(own)]
    lines += ["", "## The claims", "", *claims(rows, cost)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "apriori.md").write_text("\n".join(lines) + "\n")
    (out / "summary.md").write_text("\n".join(_summary(rows, cost)) + "\n")
    if any(row["preset"] == "packing" for row in rows):
        _figure([row for row in rows if row["preset"] == "packing" and row["size"] is None], cost, out / "apriori.png")


def _summary(rows: Rows, cost: dict[str, Any]) -> list[str]:
    """The most telling arms, and the claims that are about errors and time."""
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
    return [*lines, "", *(line for line in claims(rows, cost) if line.startswith(tuple(f"- *{said}" for said in SAID)))]


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
        "ms training",
        "MB training",
        "MB frame",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for name, own in by_name(rows).items():
        first, price = own[0], cost.get(name, {})
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
        cells += [
            f"{price[key] / size:.{digits}f}" if price else ""
            for key, size, digits in (
                ("training_milliseconds", 1, 0),
                ("training_bytes", 1e6, 1),
                ("prediction_bytes", 1e6, 1),
            )
        ]
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


def _figure(rows: Rows, cost: dict[str, Any], path: Path) -> None:
    """Error after one crossing against parameters, multiply-accumulates, and milliseconds."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for colour, group in enumerate(groups):
        own = by_name([row for row in rows if row["group"] == group])
        for number, (name, seeds) in enumerate(own.items()):
            mean, deviation = spread(seeds, "test", "one_crossing")
            price = cost.get(name, {})
            places = (
                seeds[0]["parameters"],
                seeds[0]["macs"] / 1e6,
                fastest(price),
            )
            mark = "s" if group != "afterwards" and filtered_classically(name) else "o"
            for axis, x in zip(axes, places, strict=True):
                if np.isfinite(x):
                    axis.errorbar(
                        x,
                        mean,
                        deviation,
                        fmt=mark,
                        color=f"C{colour}",
                        ms=4,
                        capsize=2,
                        label=group if number == 0 else None,
                    )
    for axis, words in zip(axes, ("parameters", "MMAC a frame", "ms a frame, fastest runtime"), strict=True):
        axis.set_xscale("log")
        axis.set_xlabel(words)
        _plainly(axis.xaxis)
    axes[0].set_yscale("log")
    _plainly(axes[0].yaxis)
    axes[0].set_ylabel("relative L2 after one crossing")
    axes[0].legend(fontsize=7, title="squares: classical filters", title_fontsize=7)
    figure.savefig(path, dpi=120)
