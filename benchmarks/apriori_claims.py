"""The abstract's claims one by one, in words that follow from the lines and the costs of apriori.py alone.

A ratio is of means over seeds. Where both have two seeds or more, errors' ratios stand with their interval of 95 %: in
their logarithms, Student's t times the standard error by the delta method, degrees of freedom by Welch and
Satterthwaite. A claim holds, or does not, if one lies outside of it; else it is not decided.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from apriori_arms import AS_LONG, CLASSICAL, NARROW, ONE_WAY
from scipy.stats import t as student

Rows = list[dict[str, Any]]
WHERE = {"packing": "packings", "random": "random media", "cavity": "cavities"}
GATED = ("main", "thin", "families")
AFTERWARDS, FROM_THE_START = "classical decomposed to rank 32 and tuned", "cp-series, rank 32"


def by_name(rows: Rows) -> dict[str, Rows]:
    return {name: [row for row in rows if row["name"] == name] for name in dict.fromkeys(row["name"] for row in rows)}


def spread(rows: Rows, split: str, key: str) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds."""
    values = [row[split][key] for row in rows]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def ratio(ours: Rows, theirs: Rows, split: str = "test") -> tuple[float, float | None]:
    """Of errors after one crossing, and half of the interval of its logarithm."""
    means, variances, seeds = [], [], []
    for rows in (ours, theirs):
        mean, deviation = spread(rows, split, "one_crossing")
        means.append(mean)
        seeds.append(len(rows))
        variances.append(None if deviation is None else (deviation / mean) ** 2 / len(rows))
    value = means[0] / means[1]
    if None in variances:
        return value, None
    return value, interval(variances, seeds)  # type: ignore[arg-type]


def interval(variances: list[float], seeds: list[int]) -> float:
    """Half of the interval of 95 % of a sum whose parts' means have these variances."""
    total = sum(variances)
    if not total:
        return 0.0
    freedom = total**2 / sum(one**2 / (number - 1) for one, number in zip(variances, seeds, strict=True))
    return float(student.ppf(0.975, freedom) * np.sqrt(total))


def said(pair: tuple[float, float | None]) -> str:
    value, error = pair
    if error is None:
        return f"{value:.2f}"
    least, most = (
        f"{end:.2f}" if 0.1 <= end < 10 else f"{float(f'{end:.1g}'):g}" for end in value * np.exp([-error, error])
    )
    return f"{value:.2f} ({least} to {most})"


def verdict(pair: tuple[float, float | None]) -> str:
    """Whether no more error is shown."""
    value, error = pair
    if error is not None and abs(np.log(value)) < error:
        return "not decided"
    return ("holds" if value <= 1 else "does not hold") + ("" if error is not None else ", with one seed")


def claims(rows: Rows, cost: dict[str, Any]) -> list[str]:
    """A line each."""
    packing = by_name([row for row in rows if row["preset"] == "packing" and row["group"] in GATED])
    if not {CLASSICAL, ONE_WAY} <= packing.keys() or not {CLASSICAL, ONE_WAY} <= cost.keys():
        return ["Not known yet: the classical and the one-way arm have to be finished."]
    lines = [
        *(_equal_error(rows, preset, cost) for preset in dict.fromkeys(row["preset"] for row in rows)),
        *_equal_time(rows),
        *_afterwards(rows),
        *_encoders(rows),
        *_costs(packing, cost),
        _aim(rows, cost),
        *_overfitting(rows),
    ]
    return [line for line in lines if line]


def _equal_error(rows: Rows, preset: str, cost: dict[str, Any]) -> str:
    """Of the one-way network, of the smallest one-way arm that is as good on validation data, and of the classical ones
    of equal cost."""
    own = by_name([row for row in rows if row["preset"] == preset and row["group"] in (*GATED, "other presets")])
    gated = {name: seeds for name, seeds in own.items() if not name.startswith("effective")}
    if not {CLASSICAL, ONE_WAY} <= gated.keys():
        return ""
    size = {name: seeds[0]["parameters"] for name, seeds in gated.items()}
    found = ratio(gated[ONE_WAY], gated[CLASSICAL])
    words = f"- *Equal error with fewer parameters*, {WHERE[preset]}: {verdict(found)}: with "
    words += f"{size[ONE_WAY] / size[CLASSICAL]:.2f} of the parameters the one-way one has {said(found)} of the error"
    smaller = {name for name in gated if name != ONE_WAY and not filtered_classically(name)}
    good = [name for name in smaller if ratio(gated[name], gated[CLASSICAL], "valid")[0] <= 1]
    if good:
        least = min(good, key=lambda name: size[name])
        words += (
            f"; {least}, has {said(ratio(gated[least], gated[CLASSICAL]))} with {size[least] / size[CLASSICAL]:.2f}"
        )
    others = [name for name in gated if filtered_classically(name) and name != CLASSICAL]
    error = {name: spread(seeds, "valid", "one_crossing")[0] for name, seeds in gated.items()}
    nearest: dict[str, list[str]] = {}
    for what, price in (
        ("parameters", size),
        ("multiply-accumulates", {name: seeds[0]["macs"] for name, seeds in gated.items()}),
        ("milliseconds in compiled loops", {name: cost.get(name, {}).get("compiled_milliseconds") for name in gated}),
        ("milliseconds in ONNX Runtime", {name: cost.get(name, {}).get("onnx_milliseconds") for name in gated}),
    ):
        # The best on validation data of those that are no dearer by a tenth: the control is not to be starved.
        within = [name for name in others if price[name] and price[ONE_WAY] and price[name] <= 1.1 * price[ONE_WAY]]
        if within:
            nearest.setdefault(min(within, key=lambda name: error[name]), []).append(what)
    for name, equal in nearest.items():
        kinds = " and ".join(part for part in (", ".join(equal[:-1]), equal[-1]) if part)
        words += f"; {name}, of as many {kinds}, has {said(ratio(gated[name], gated[CLASSICAL]))}"
    return f"{words}."


def _equal_time(rows: Rows) -> list[str]:
    """Of the arms that train for the classical network's seconds."""
    own = by_name([row for row in rows if row["preset"] == "packing"])
    found = [
        f"{name.removesuffix(AS_LONG)}, {seeds[0]['iterations']:,} steps, has {said(ratio(seeds, own[CLASSICAL]))}"
        for name, seeds in own.items()
        if name.endswith(AS_LONG)
    ]
    return [f"- *As many seconds of training* as the classical network's, packings: {'; '.join(found)}."] * bool(found)


def _afterwards(rows: Rows) -> list[str]:
    """What a decomposition of the trained classical network leaves, beside such filters from the start."""
    own = by_name([row for row in rows if row["preset"] == "packing"])
    if not {AFTERWARDS, FROM_THE_START} <= own.keys():
        return []
    later, start = (ratio(own[name], own[CLASSICAL]) for name in (AFTERWARDS, FROM_THE_START))
    cut = np.mean([row["before_tuning"] for row in own[AFTERWARDS]])
    size = {name: own[name][0]["parameters"] for name in (AFTERWARDS, FROM_THE_START)}
    return [
        f"- *Compressed afterwards*, packings: decomposed to rank 32 the classical network has an error of {cut:.2f} "
        f"(validation), and tuned for as many steps again, with {size[AFTERWARDS]:,} parameters, {said(later)} of its "
        f"own; such filters from the start, with {size[FROM_THE_START]:,} and half of the steps in all, {said(start)}."
    ]


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
        ("Faster training in bfloat16", "training_milliseconds"),
        ("Faster training in float32", "training_float32_milliseconds"),
        ("Lower memory in training, in bfloat16", "training_bytes"),
        ("Lower memory in training, in float32", "training_float32_bytes"),
        ("Lower memory in prediction, in PyTorch", "prediction_bytes"),
        ("Lower memory in prediction, in compiled loops", "compiled_bytes"),
    ):
        if key not in cost[ONE_WAY] or key not in cost[CLASSICAL]:
            continue
        share = cost[ONE_WAY][key] / cost[CLASSICAL][key]
        medians = [cost[name].get(f"{key}_median") for name in (ONE_WAY, CLASSICAL)]
        other = medians[0] / medians[1] if all(medians) else share
        outcome = ("holds" if share < 1 else "does not hold") if (share < 1) == (other < 1) else "not decided"
        by_median = f" ({other:.2f} by medians)" if all(medians) else ""
        least = _others(packing, cost, key) if words.startswith("Faster training") else ""
        lines.append(f"- *{words}*: {outcome}: {share:.2f}{by_median} of the classical network's{least}.")
    disk = packing[ONE_WAY][0]["bytes"] / packing[CLASSICAL][0]["bytes"]
    return [*lines, f"- *Lower memory on disk*: {'holds' if disk < 1 else 'does not hold'}: {disk:.2f} of its file."]


def _others(packing: dict[str, Rows], cost: dict[str, Any], key: str) -> str:
    """The gated one-way arms of which it holds by the smallest times and by the medians."""
    shares = {}
    for name in packing:
        if name != ONE_WAY and name in cost and not filtered_classically(name):
            both = [cost[name].get(one, np.inf) / cost[CLASSICAL].get(one, np.nan) for one in (key, f"{key}_median")]
            if max(both) < 1:
                shares[name] = both[0]
    return f"; it holds for {', '.join(f'{name} ({share:.2f})' for name, share in shares.items())}" if shares else ""


def _aim(rows: Rows, cost: dict[str, Any]) -> str:
    """The best of one-way filters, on validation data, among all that are small and fast enough."""
    aim = "- *A twentieth of the parameters, a fifth of the milliseconds, no more error* than the classical network"
    packing = by_name([row for row in rows if row["preset"] == "packing"])
    whole = packing[CLASSICAL]
    found = []
    for words, groups in (("as many steps", (*GATED, "networks")), ("as many seconds of training", ("time",))):
        shares = {
            name: (own[0]["parameters"] / whole[0]["parameters"], fastest(price) / fastest(cost[CLASSICAL]))
            for name, own in packing.items()
            if own[0]["group"] in groups and not filtered_classically(name)
            and (price := cost.get(name.removesuffix(AS_LONG)))
        }  # fmt: skip
        small = [name for name, (size, time) in shares.items() if size <= 1 / 20 and time <= 1 / 5]
        if small:
            best = min(small, key=lambda name: spread(packing[name], "valid", "one_crossing")[0])
            (size, time), error = shares[best], ratio(packing[best], whole)
            found.append(
                f"{verdict(error)} by {words} for {best.removesuffix(AS_LONG)}, with {size:.3f}, {time:.3f} and "
                f"{said(error)} of them"
            )
    return f"{aim}, packings: {'; '.join(found) or 'no arm is as small and as fast'}."


def _overfitting(rows: Rows) -> list[str]:
    """How much the error on the test grows from all trajectories to few, of both families, seed by seed.

    The error on the test less that on what trained is in the table; of few media it is that of their difficulty, too.
    """
    lines = []
    for preset, words in WHERE.items():
        own = [row for row in rows if row["preset"] == preset]
        learning = by_name([row for row in own if row["group"] == "data"])
        whole = by_name([row for row in own if row["group"] in ("main", "other presets")])
        told = []
        for size in sorted({row["size"] for few in learning.values() for row in few}):
            growths = [
                _growths(learning.get(f"{family}, {size} trajectories", []), whole.get(all_of_them, []))
                for family, all_of_them in (("one-way", ONE_WAY), ("classical", CLASSICAL))
            ]
            seeds = sorted(growths[0].keys() & growths[1].keys())
            if seeds:
                one_way, classical = (np.array([growth[seed] for seed in seeds]) for growth in growths)
                apart = np.log(one_way / classical)
                margin = interval([apart.var(ddof=1) / len(seeds)], [len(seeds)]) if len(seeds) > 1 else None
                told.append(
                    f"on {size}, {one_way.mean():.2f} times the error on all of them, the classical one "
                    f"{classical.mean():.2f}: {verdict((float(np.exp(apart.mean())), margin))}"
                )
        if told:
            lines.append(f"- *Less overfitting*, {words}: seed by seed, the one-way one has, {'; '.join(told)}.")
    return lines


def _growths(few: Rows, whole: Rows) -> dict[int, float]:
    """Seed -> the error on the test over that of the same network trained on all there is."""
    known = {row["seed"]: row["test"]["one_crossing"] for row in whole}
    return {row["seed"]: row["test"]["one_crossing"] / known[row["seed"]] for row in few if row["seed"] in known}


def fastest(price: dict[str, float]) -> float:
    """Milliseconds a frame in the fastest runtime that knows the network."""
    return min(price.get(f"{kind}_milliseconds", np.inf) for kind in ("onnx", "compiled", "torch"))


def filtered_classically(name: str) -> bool:
    """Whether an arm's filters are classical, all of them: thinned ones, and published networks."""
    return "classical" in name.split(", ") or name.startswith("classical") or name.endswith(", thinned")
