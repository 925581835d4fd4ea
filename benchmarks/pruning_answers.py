"""The questions of pruning.py, answered in words as far as what each takes is there."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from pruning_arms import COLLAPSE
from pruning_choice import WITHIN, Row, Study, has_cut, said

AIM = {"stored_bytes": 100, "milliseconds": 10}  # times fewer, at that error
SCOPES = {
    "layer": ("sap", "sap (1, 2)", "lottery-ticket"),
    "global": ("sap (1, 2), global", "lottery-ticket, global"),
    "neuron": ("sap (1, 2), neuron", "lottery-ticket, neuron"),
}
TURN = 0.01  # of the index: less is none
Lines = list[Row]


def answers(study: Study) -> list[str]:
    lines: list[str] = []
    for preset in dict.fromkeys(row["preset"] for row in study.rows):
        here = study.of_preset(preset)
        arms = here.arms()
        families = dict.fromkeys(family for family, _ in arms)
        for family in families:
            where = f"*{preset}, {family}*"
            if own := arms.get((family, COLLAPSE)):
                lines.append(f"- {where}, the index as pruning goes on until it collapses: {_course(here, own)}.")
            for scope, names in SCOPES.items():
                there = {name: arms[family, name] for name in names if (family, name) in arms}
                if len(there) > 1 and names[-1] in there:
                    words = ", ".join(f"{name} {_reached(here, own)}" for name, own in there.items())
                    lines.append(f"- {where}, smallest density within {WITHIN:g} times the error, in scope {scope}: "
                                 f"{words}; {_smaller(here, there)}.")  # fmt: skip
            lines += _controls(here, arms, family, where)
            lines += _shuffled(arms, family, where)
        lines += _less_to_prune(here, preset, arms, list(families))
        lines += _winners(here, preset, arms)
    return lines or ["Not known yet: nothing is finished."]


def _course(study: Study, own: Lines) -> str:
    """The mean index at its turns, and the error beside it; and whether it falls, rises and falls."""
    rounds = min(len(row["rounds"]) for row in own)
    index = np.mean([[row["rounds"][k]["pq_index"] for k in range(rounds)] for row in own], axis=0)
    times = np.mean([[study.times(row, k) or np.nan for k in range(rounds)] for row in own], axis=0)
    density = np.mean([[row["rounds"][k]["density"] for k in range(rounds)] for row in own], axis=0)
    turns = _turns(index)
    ways = ["rises" if index[b] > index[a] else "falls" for a, b in pairwise(turns)]
    words = ", ".join(
        f"{way} from {index[a]:.3f} to {index[b]:.3f} (round {b}, density {density[b]:.3f}, {times[b]:.2f} times the "
        "error)"
        for way, (a, b) in zip(ways, pairwise(turns), strict=True)
    )
    does = "falls, rises and falls" if ways == ["falls", "rises", "falls"] else "does not fall, rise and fall"
    return f"{words or f'stays at {index[0]:.3f}'}; it {does}"


def _turns(index: np.ndarray) -> list[int]:
    """The first round, those where the index turns by more than TURN, and the extreme after the last of these."""
    turns, extreme, way = [0], 0, 0
    for k, value in enumerate(index):
        if way == 0:
            if abs(value - index[0]) > TURN:
                way, extreme = int(np.sign(value - index[0])), k
        elif way * (value - index[extreme]) > 0:
            extreme = k
        elif way * (index[extreme] - value) > TURN:
            turns, way, extreme = [*turns, extreme], -way, k
    return [*turns, extreme] if way else turns


def _densities(study: Study, own: Lines) -> dict[int, float]:
    """Seed -> the smallest density that is as good as what is uncut; 1 where no round is."""
    found = {row["seed"]: (row, study.last_within(row)) for row in own}
    return {seed: row["rounds"][number]["density"] if number is not None else 1.0
            for seed, (row, number) in found.items()}  # fmt: skip


def _failed(study: Study, own: Lines) -> bool:
    """Whether a round fails in any seed: if not, smaller ones might be as good."""
    return any(study.last_within(row) != len(row["rounds"]) - 1 for row in own)


def _reached(study: Study, own: Lines) -> str:
    words = said(list(_densities(study, own).values()), 3)
    return words if _failed(study, own) else f"{words} or less"


def _smaller(study: Study, there: dict[str, Lines]) -> str:
    """Whether SAP comes to smaller networks than the lottery ticket, in all seeds."""
    *saps, ticket = there
    best = min(saps, key=lambda name: np.mean(list(_densities(study, there[name]).values())))
    one, other = _densities(study, there[best]), _densities(study, there[ticket])
    shared = one.keys() & other.keys()
    if not (_failed(study, there[best]) and _failed(study, there[ticket])):
        return "not decided, for not all came to an end"
    less = sum(one[seed] < other[seed] for seed in shared)
    return f"{best} leaves fewer than the lottery ticket in {less} of {len(shared)} seeds"


def _controls(study: Study, arms: dict[tuple[str, str], Lines], family: str, where: str) -> list[str]:
    """Methods beside random weights, as many in each tensor, both against what is uncut after as many steps."""
    words = []
    for (owner, name), own in arms.items():
        of = name.removeprefix("random, counts of ")
        if owner != family or of == name or (family, of) not in arms:
            continue
        errors = {row["seed"]: study.times(row, row["result"]) for row in arms[family, of]}
        both = [(errors.get(row["seed"]), study.times(row, len(row["rounds"]) - 1)) for row in own]
        pairs = [(one, other) for one, other in both if one and other]
        if pairs:
            better, ratio = sum(one < other for one, other in pairs), np.mean([one / other for one, other in pairs])
            words.append(f"{of} {ratio:.2f} times its error, better in {better} of {len(pairs)}")
    return [f"- {where}, beside random weights, as many in each tensor: {'; '.join(words)}."] if words else []


def _shuffled(arms: dict[tuple[str, str], Lines], family: str, where: str) -> list[str]:
    """AutoSparse beside its own scores in another order."""
    words = []
    for (owner, name), own in arms.items():
        other = name.replace("autosparse", "autosparse-shuffled")
        if owner != family or not name.startswith("autosparse,") or (family, other) not in arms:
            continue
        errors = {row["seed"]: row["rounds"][-1]["validation_error"] for row in arms[family, other]}
        pairs = [(row["rounds"][-1]["validation_error"], errors[row["seed"]]) for row in own if row["seed"] in errors]
        if pairs:
            better, ratio = sum(one < two for one, two in pairs), np.mean([one / two for one, two in pairs])
            words.append(f"{name}: {ratio:.2f} times the error of its scores shuffled, better in {better} of "
                         f"{len(pairs)}")  # fmt: skip
    return [f"- {where}, AutoSparse beside its control, {'; '.join(words)}."] if words else []


def _less_to_prune(study: Study, preset: str, arms: dict[tuple[str, str], Lines], families: list[str]) -> list[str]:
    """By the lottery ticket, of the classical forecaster and of those that were compressed a priori."""
    tickets = {family: arms[family, "lottery-ticket"] for family in families if (family, "lottery-ticket") in arms}
    if "classical" not in tickets or len(tickets) < 2:
        return []
    classical = _densities(study, tickets["classical"])
    lines = []
    for family, own in tickets.items():
        if family == "classical":
            continue
        compressed = _densities(study, own)
        shared = compressed.keys() & classical.keys()
        more = sum(compressed[seed] > classical[seed] for seed in shared)
        ended = _failed(study, own) and _failed(study, tickets["classical"])
        word = {len(shared): "leaves less to prune", 0: "does not leave less to prune"}.get(
            more, "is not decided by the seeds"
        )
        word = word if ended else "is not decided, for not all came to an end"
        lines.append(f"- *{preset}*: compression a priori {word}: by the lottery ticket the classical forecaster goes "
                     f"down to a density of {_reached(study, tickets['classical'])} within {WITHIN:g} times its error, "
                     f"the {family} one to {_reached(study, own)}.")  # fmt: skip
    return lines


def _winners(study: Study, preset: str, arms: dict[tuple[str, str], Lines]) -> list[str]:
    """The smallest and the fastest result that is as good as the uncut classical forecaster, and the aim.

    As good is told by validation errors, in every seed; the test errors of what they choose stand beside it.
    """
    bases = {row["seed"]: row for row in study.rows if row["family"] == "classical" and row["group"] == "uncut"}
    if not bases:
        return []
    found: dict[str, dict[str, float]] = {}
    for (family, name), own in arms.items():
        rounds = [(row, study.last_within(row, "classical")) for row in own]
        seen = [(row, k, study.judged[row["key"], k]) for row, k in rounds
                if k and has_cut(row, k) and (row["key"], k) in study.judged]  # fmt: skip
        tested = [study.test_times(row, k, "classical") for row, k, _ in seen]
        if len(seen) < len(own) or None in tested or not all(row["seed"] in bases for row in own):
            continue
        dense = np.mean([bases[row["seed"]]["rounds"][0]["stored_bytes"] for row in own])
        found[f"{family} pruned by {name}"] = {
            "stored_bytes": float(dense / np.mean([row["rounds"][k]["stored_bytes"] for row, k, _ in seen])),
            "milliseconds": float(np.mean([one["classical_milliseconds"] / one["milliseconds"] for *_, one in seen])),
            "test": float(np.mean([value for value in tested if value])),
        }
    aim = f"the aim, {AIM['stored_bytes']} times fewer stored bits and {AIM['milliseconds']} times fewer milliseconds"
    if not found:
        return [
            f"- *{preset}*: no pruned forecaster is within {WITHIN:g} times the classical one's error on validation "
            f"data in every seed; {aim}, is not met."
        ]
    words = [
        f"the {word} is {name}, {_gains(found[name])}"
        for word, key in (("smallest", "stored_bytes"), ("fastest", "milliseconds"))
        for name in [max(found, key=lambda one: found[one][key])]
    ]
    within = f"within {WITHIN:g} times the error of the classical forecaster after as many steps"
    return [f"- *{preset}*: {within}, on validation data, {'; '.join(words)}.", f"- *{preset}*: {aim}, {_met(found)}."]


def _gains(gains: dict[str, float]) -> str:
    return (
        f"{gains['stored_bytes']:.1f} times fewer stored bits, {gains['milliseconds']:.1f} times fewer milliseconds, "
        f"{gains['test']:.2f} times the error on test data"
    )


def _met(found: dict[str, dict[str, float]]) -> str:
    """By whom of those that are as good on validation data the aim is met, and whether the test data say so too."""
    there = [name for name, gains in found.items() if all(gains[key] >= least for key, least in AIM.items())]
    if not there:
        return "is not met"
    name = max(there, key=lambda one: found[one]["stored_bytes"])
    verdict = "is met by" if found[name]["test"] <= WITHIN else "is met on validation data alone, by"
    return f"{verdict} {name}: {_gains(found[name])}"
