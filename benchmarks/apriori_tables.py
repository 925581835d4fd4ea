"""The tables and the figure of apriori.py, and in words which claims hold: from its lines and its costs alone."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

Rows = list[dict[str, Any]]
CLASSICAL, ONE_WAY = "classical, 5 taps", "one-way, rank 32, 5 taps"


def write(rows: Rows, cost: dict[str, Any], out: Path) -> None:
    """OUT/apriori.md, and OUT/apriori.png where there is something to draw."""
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
    learning = [row for row in rows if row["group"] == "data"]
    if learning:
        lines += ["", "## Fewer trajectories (random)", "", *_learning(learning)]
    lines += ["", "## The claims", "", *claims(rows, cost)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "apriori.md").write_text("\n".join(lines) + "\n")
    if any(row["preset"] == "packing" for row in rows):
        _figure([row for row in rows if row["preset"] == "packing"], cost, out / "apriori.png")


def _arms(rows: Rows) -> dict[str, Rows]:
    return {name: [row for row in rows if row["name"] == name] for name in dict.fromkeys(row["name"] for row in rows)}


def spread(rows: Rows, split: str, key: str) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds."""
    values = [row[split][key] for row in rows]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


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
    for name, own in _arms(rows).items():
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
    for name, own in _arms(rows).items():
        seen, unseen = (spread(own, split, "one_crossing") for split in ("train", "test"))
        lines.append(f"| {name} | {len(own)} | {_said(seen)} | {_said(unseen)} | {unseen[0] - seen[0]:.3f} |")
    return lines


def claims(rows: Rows, cost: dict[str, Any]) -> list[str]:
    """The abstract's claims one by one, on packings, of the one-way network against its classical twin."""
    packing = _arms(
        [row for row in rows if row["preset"] == "packing" and row["group"] in ("main", "thin", "families")]
    )
    if not {CLASSICAL, ONE_WAY} <= packing.keys() or not {CLASSICAL, ONE_WAY} <= cost.keys():
        return ["Not known yet: the classical and the one-way arm have to be finished."]
    error = {name: spread(own, "test", "one_crossing")[0] for name, own in packing.items()}
    size = {name: own[0]["parameters"] for name, own in packing.items()}
    ratio = error[ONE_WAY] / error[CLASSICAL]
    as_good = [name for name in packing if not name.startswith("classical") and error[name] <= error[CLASSICAL]]
    least = min(as_good, key=lambda name: size[name], default=None)
    thin = [name for name in packing if name.endswith("channels") and size[name] <= 1.1 * size[ONE_WAY]]
    words = f"with {size[ONE_WAY] / size[CLASSICAL]:.2f} of the parameters the one-way one has {ratio:.2f} of the error"
    words += (
        f"; {least}, is as good with {size[least] / size[CLASSICAL]:.2f}" if least else "; no one-way arm is as good"
    )
    if thin:
        nearest = max(thin, key=lambda name: size[name])
        words += f"; a classical one thinned to as few has {error[nearest] / error[CLASSICAL]:.2f}"
    lines = [f"- *Equal error with fewer parameters*: {words}."]
    for words, key in (
        ("Faster prediction, in ONNX Runtime", "onnx_milliseconds"),
        ("Faster prediction, in compiled loops", "compiled_milliseconds"),
        ("Faster training, a step", "training_milliseconds"),
        ("Lower memory in training", "training_bytes"),
        ("Lower memory in prediction", "prediction_bytes"),
    ):
        share = cost[ONE_WAY][key] / cost[CLASSICAL][key]
        lines.append(
            f"- *{words}*: {'holds' if share < 1 else 'does not hold'}: {share:.2f} of the classical network's."
        )
    disk = packing[ONE_WAY][0]["bytes"] / packing[CLASSICAL][0]["bytes"]
    lines.append(f"- *Lower memory on disk*: {disk:.2f} of the classical network's file.")
    lines.append(_aim(rows, cost))
    learning = _arms([row for row in rows if row["group"] == "data"])
    sizes = sorted({row["size"] for row in rows if row["group"] == "data"})
    pairs = []
    for number in sizes:
        both = [learning.get(f"{family}, {number} trajectories", []) for family in ("classical", "one-way")]
        if all(both):
            gaps = [spread(own, "test", "one_crossing")[0] - spread(own, "train", "one_crossing")[0] for own in both]
            pairs.append(f"{gaps[1]:.3f} against {gaps[0]:.3f} on {number}")
    if pairs:
        lines.append(
            f"- *Less overfitting*, error on the test less that on what trained: {', '.join(pairs)} trajectories."
        )
    return lines


def _aim(rows: Rows, cost: dict[str, Any]) -> str:
    """The smallest of one-way filters among all that are at once small, fast and good, by means over seeds."""
    aim = "- *A twentieth of the parameters, a fifth of the milliseconds, no more error* than the classical network"
    packing = _arms([row for row in rows if row["preset"] == "packing" and row["group"] not in ("time", "afterwards")])
    least = packing[CLASSICAL][0]["parameters"]
    shares = {
        name: (
            own[0]["parameters"] / least,
            fastest(cost[name]) / fastest(cost[CLASSICAL]),
            spread(own, "test", "one_crossing")[0] / spread(packing[CLASSICAL], "test", "one_crossing")[0],
        )
        for name, own in packing.items()
        if name in cost and not filtered_classically(name)
    }
    met = [name for name, (size, time, error) in shares.items() if size <= 1 / 20 and time <= 1 / 5 and error <= 1]
    if not met:
        return f"{aim}: reached by no arm."
    best = min(met, key=lambda name: shares[name][0])
    size, time, error = shares[best]
    return f"{aim}: reached by {best}, with {size:.3f}, {time:.3f} and {error:.2f} of them."


def fastest(price: dict[str, float]) -> float:
    """Milliseconds a frame in the fastest runtime that knows the network."""
    return min(price.get(f"{kind}_milliseconds", np.inf) for kind in ("onnx", "compiled", "torch"))


def filtered_classically(name: str) -> bool:
    """Whether an arm's filters are classical, all of them: thinned ones, and published networks."""
    return "classical" in name.split(", ") or name.startswith("classical") or name.endswith(", thinned")


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
        own = _arms([row for row in rows if row["group"] == group])
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
