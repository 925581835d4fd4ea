"""The abstract's claims one by one, in words that follow from the lines and the costs of apriori.py alone.

A ratio is of means over seeds. Where it is of errors, and both have two seeds or more, it stands with its standard
error by the delta method, and a claim holds, or does not, if the ratio is two of them from one; else it is not decided.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from apriori_arms import CLASSICAL, ONE_WAY

Rows = list[dict[str, Any]]
WHERE = {"packing": "packings", "random": "random media", "cavity": "cavities"}
GATED = ("main", "thin", "families")
NARROW = ("effective medium, one-way, 16 wide", "effective medium, classical, 4 wide")


def by_name(rows: Rows) -> dict[str, Rows]:
    return {name: [row for row in rows if row["name"] == name] for name in dict.fromkeys(row["name"] for row in rows)}


def spread(rows: Rows, split: str, key: str) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds."""
    values = [row[split][key] for row in rows]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def ratio(ours: Rows, theirs: Rows) -> tuple[float, float | None]:
    """Of errors after one crossing, and its standard error."""
    relative, found = [], []
    for rows in (ours, theirs):
        mean, deviation = spread(rows, "test", "one_crossing")
        found.append(mean)
        relative.append(None if deviation is None else deviation / mean / np.sqrt(len(rows)))
    value = found[0] / found[1]
    return value, None if None in relative else value * float(np.hypot(*relative))  # type: ignore[arg-type]


def said(pair: tuple[float, float | None]) -> str:
    return f"{pair[0]:.2f}" + ("" if pair[1] is None else f" ± {pair[1]:.2f}")


def verdict(pair: tuple[float, float | None]) -> str:
    """Whether no more error is shown."""
    value, error = pair
    if error is not None and abs(value - 1) < 2 * error:
        return "not decided"
    return ("holds" if value <= 1 else "does not hold") + ("" if error is not None else ", with one seed")


def claims(rows: Rows, cost: dict[str, Any]) -> list[str]:
    """A line each."""
    packing = by_name([row for row in rows if row["preset"] == "packing" and row["group"] in GATED])
    if not {CLASSICAL, ONE_WAY} <= packing.keys() or not {CLASSICAL, ONE_WAY} <= cost.keys():
        return ["Not known yet: the classical and the one-way arm have to be finished."]
    lines = [
        *(_equal_error(rows, preset, cost) for preset in dict.fromkeys(row["preset"] for row in rows)),
        *_encoders(rows),
        *_costs(packing, cost),
        _aim(rows, cost),
        *_overfitting(rows),
    ]
    return [line for line in lines if line]


def _equal_error(rows: Rows, preset: str, cost: dict[str, Any]) -> str:
    """Of the one-way network, of the smallest one-way arm that is as good, and of the classical ones of equal cost."""
    own = by_name([row for row in rows if row["preset"] == preset and row["group"] in (*GATED, "other presets")])
    gated = {name: seeds for name, seeds in own.items() if not name.startswith("effective")}
    if not {CLASSICAL, ONE_WAY} <= gated.keys():
        return ""
    size = {name: seeds[0]["parameters"] for name, seeds in gated.items()}
    found = ratio(gated[ONE_WAY], gated[CLASSICAL])
    words = f"- *Equal error with fewer parameters*, {WHERE[preset]}: {verdict(found)}: with "
    words += f"{size[ONE_WAY] / size[CLASSICAL]:.2f} of the parameters the one-way one has {said(found)} of the error"
    smaller = {name for name in gated if name != ONE_WAY and not filtered_classically(name)}
    good = [name for name in smaller if ratio(gated[name], gated[CLASSICAL])[0] <= 1]
    if good:
        least = min(good, key=lambda name: size[name])
        part, error = size[least] / size[CLASSICAL], ratio(gated[least], gated[CLASSICAL])
        words += f"; {least}, has {said(error)} with {part:.2f}"
    thin = {name: seeds for name, seeds in gated.items() if name.endswith("channels")}
    nearest: dict[str, list[str]] = {}
    for what, price in (
        ("parameters", size),
        ("multiply-accumulates", {name: seeds[0]["macs"] for name, seeds in gated.items()}),
        ("milliseconds in compiled loops", {name: cost.get(name, {}).get("compiled_milliseconds") for name in gated}),
    ):
        known = [name for name in thin if price[name]]
        if known and price[ONE_WAY]:
            # The dearest that is no dearer by a tenth, as the control is not to be starved.
            within = [name for name in known if price[name] <= 1.1 * price[ONE_WAY]]
            if within:
                nearest.setdefault(max(within, key=lambda name: price[name]), []).append(what)
    for name, equal in nearest.items():
        kinds = " and ".join(part for part in (", ".join(equal[:-1]), equal[-1]) if part)
        words += f"; {name}, of as many {kinds}, has {said(ratio(gated[name], gated[CLASSICAL]))}"
    return f"{words}."


def _encoders(rows: Rows) -> list[str]:
    """Of an effective medium: both families with as many parameters."""
    own = by_name([row for row in rows if row["preset"] == "packing"])
    if not set(NARROW) <= own.keys():
        return []
    (one_way, classical), found = (own[name] for name in NARROW), ratio(own[NARROW[0]], own[NARROW[1]])
    return [
        f"- *Encoders of an effective medium, of as many parameters* ({one_way[0]['parameters']:,} and "
        f"{classical[0]['parameters']:,}), packings: the one-way one has {said(found)} of the classical one's error."
    ]


def _costs(packing: dict[str, Rows], cost: dict[str, Any]) -> list[str]:
    lines = []
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
    return [*lines, f"- *Lower memory on disk*: {'holds' if disk < 1 else 'does not hold'}: {disk:.2f} of its file."]


def _aim(rows: Rows, cost: dict[str, Any]) -> str:
    """The best of one-way filters among all that are small and fast enough."""
    aim = "- *A twentieth of the parameters, a fifth of the milliseconds, no more error* than the classical network"
    groups = (*GATED, "networks")
    packing = by_name([row for row in rows if row["preset"] == "packing" and row["group"] in groups])
    least = packing[CLASSICAL][0]["parameters"]
    shares = {
        name: (own[0]["parameters"] / least, fastest(cost[name]) / fastest(cost[CLASSICAL]))
        for name, own in packing.items()
        if name in cost and not filtered_classically(name)
    }
    small = [name for name, (size, time) in shares.items() if size <= 1 / 20 and time <= 1 / 5]
    if not small:
        return f"{aim}: no arm is as small and as fast."
    error = {name: ratio(packing[name], packing[CLASSICAL]) for name in small}
    best = min(small, key=lambda name: error[name][0])
    size, time = shares[best]
    return f"{aim}: {verdict(error[best])} for {best}, with {size:.3f}, {time:.3f} and {said(error[best])} of them."


def _overfitting(rows: Rows) -> list[str]:
    """Error on the test less that on what trained, one-way against classical; nothing to tell where both are small."""
    lines = []
    for preset, words in WHERE.items():
        learning = by_name([row for row in rows if row["group"] == "data" and row["preset"] == preset])
        pairs, most = [], 0.0
        for size in sorted({row["size"] for own in learning.values() for row in own}):
            both = [learning.get(f"{family}, {size} trajectories", []) for family in ("one-way", "classical")]
            if all(both):
                gaps = [
                    spread(own, "test", "one_crossing")[0] - spread(own, "train", "one_crossing")[0] for own in both
                ]
                errors = [spread(own, "test", "one_crossing")[0] for own in both]
                most = max(most, *(abs(gap) / error for gap, error in zip(gaps, errors, strict=True)))
                pairs.append(f"{gaps[0]:.3f} against {gaps[1]:.3f} on {size}")
        if pairs:
            end = "; neither overfits, and nothing is decided" if most < 0.1 else ""
            lines.append(
                f"- *Less overfitting*, error on the test less that on what trained, {words}: {', '.join(pairs)} "
                f"trajectories{end}."
            )
    return lines


def fastest(price: dict[str, float]) -> float:
    """Milliseconds a frame in the fastest runtime that knows the network."""
    return min(price.get(f"{kind}_milliseconds", np.inf) for kind in ("onnx", "compiled", "torch"))


def filtered_classically(name: str) -> bool:
    """Whether an arm's filters are classical, all of them: thinned ones, and published networks."""
    return "classical" in name.split(", ") or name.startswith("classical") or name.endswith(", thinned")
