"""The prunings of pruning.py: what is pruned, by what, and what each is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apriori import Scale
from apriori_arms import gated, narrow
from pruning_choice import AT_ONCE, REWOUND, TRAINED_ON, WITHIN

from wavesim.config import PruningConfig

PRESETS = ("packing-32", "random-32")
FAMILIES = {"classical": gated("classical"), "one-way": gated("one-way"), "effective": narrow("one-way", 16)}
FLOORS = {"classical": 0.02, "one-way": 0.03, "effective": 0.06}  # two weights of each tensor stay, of 11, 29 and 35
STUDY = Scale({"packing": 256, "random": 344}, 400, 32, 33, (1, 2, 4))
SEEDS = 3
ON = STUDY.iterations // 4  # of a training that goes on
STOP = 2.0
# In every row the index is that of the exponents (1, 2), but for methods that cut by another.
USUAL = {"iterations": STUDY.iterations, "eta": 0.0, "rounds": 1, "multiple": 2, "half": True, "p": 1.0, "q": 2.0}
TEACHER = "lottery-ticket"
UNCUT = {"method": "lottery-ticket", "density": 1.0, "half": False}
# Weights are rewound to those after ten steps: at the beginning the last layer is zero, and with it every gradient.
EARLY = 10
COLLAPSE = "sap (1, 2), global, gamma 3"


@dataclass(frozen=True)
class Arm:
    """One pruning of one forecaster. changes: to USUAL; like: name of the arm whose counts a control takes; after: of
    the one whose result is pruned further.

    Autosparse learns from the lottery ticket of another forecaster: of the same family, another seed, on the other
    preset, rewound to the same step.
    """

    group: str
    name: str
    family: str
    preset: str
    changes: dict[str, Any]
    like: str | None = None
    after: str | None = None

    def settings(self, quick: bool, like: Path | None = None, regressor: Path | None = None) -> PruningConfig:
        early = min(1, self.changes.get("rewind_to", 0))
        short = {"iterations": 3, "rounds": min(2, self.changes.get("rounds", 1)), "rewind_to": early} if quick else {}
        return PruningConfig.model_validate({**USUAL, **self.changes, **short, "like": like, "regressor": regressor})


def recipes(family: str) -> list[Arm]:
    """The arms of a family on no preset yet, the most telling first."""
    early, on = {"rewind_to": EARLY}, {"restart": "fine-tune", "iterations": ON}
    in_rounds = {"rounds": 12, "within": STOP, **early}
    ticket = {"method": "lottery-ticket", "density": FLOORS[family], **in_rounds}
    sap = {"method": "sap", **in_rounds}
    further = {"rewind_to": 0, **on}
    pressed = {"iterations": STUDY.iterations // 2}  # before the cut, and after it
    by_units = {"multiple": 4}
    # Of an effective medium the head, which the global scope leaves whole, is an eighth of all weights.
    across = {"scope": "layer" if family == "effective" else "global"}
    found: list[Arm] = []

    def arm(group: str, name: str, changes: dict[str, Any], **more: Any) -> None:
        found.append(Arm(group, name, family, "", changes, **more))

    def at_once(name: str, densities: tuple[float, ...], changes: dict[str, Any], group: str = "methods") -> None:
        for density in densities:
            arm(group, f"{name}, {density:g}", {**changes, "density": density})

    def control(of: str, changes: dict[str, Any]) -> None:
        arm("controls", f"random, counts of {of}", {"method": "random", **changes}, like=of)

    arm("uncut", REWOUND, {**UNCUT, **early, "rounds": 3})
    arm("uncut", TRAINED_ON, {**UNCUT, **on, "rounds": 18})
    arm("uncut", AT_ONCE, {**UNCUT, "restart": "fine-tune"})
    arm("methods", "sap (1, 2)", sap)
    arm("methods", TEACHER, ticket)
    control("sap (1, 2)", early)
    control(TEACHER, early)
    if family != "effective":
        arm("methods", "structured-sap", {"method": "structured-sap", "eta": 0.1, "rounds": 10, "within": WITHIN,
                                          "p": 0.5, "q": 1.0, **on, **by_units})  # fmt: skip
        arm("restarts", "structured-sap, then lottery-ticket",
            {**ticket, **further, "rounds": 8, "density": 0.1}, after="structured-sap")  # fmt: skip
    at_once("one-shot", (0.3, 0.1), {"method": "one-shot"})
    at_once("granet", (0.3, 0.1), {"method": "granet", **across})
    arm("restarts", "sap (1, 2), fine-tuned", {**sap, **further})
    arm("restarts", "lottery-ticket, fine-tuned", {**ticket, **further})
    at_once("espn", (0.3, 0.1), {"method": "espn", **across, **early})
    at_once("autosparse", (0.3, 0.1), {"method": "autosparse", **across, **early})
    at_once("autosparse-shuffled", (0.3,), {"method": "autosparse-shuffled", **across, **early})
    if family == "effective":
        return found
    arm("methods", "sap", {**sap, "p": 0.5, "q": 1.0})
    arm("methods", "one-shot-dense", {**ticket, "method": "one-shot-dense"})
    at_once("granet-st", (0.3, 0.1), {"method": "granet-st", "scope": "global"})
    at_once("greg-1", (0.3, 0.1), {"method": "greg-1", **pressed})
    at_once("greg-2", (0.3, 0.1), {"method": "greg-2", **pressed})
    for method in ("structured-greg", "structured-greg-2"):
        at_once(method, (0.5, 0.25), {"method": method, **pressed, **by_units})
    at_once("espn, fine-tuned", (0.3,), {"method": "espn", "scope": "global", "restart": "fine-tune", **pressed},
            "restarts")  # fmt: skip
    for name in ("one-shot, 0.1", "greg-1, 0.1"):
        control(name, {"restart": "fine-tune"})
    control("granet, 0.1", {})
    control("espn, 0.1", early)
    control("structured-sap", {"method": "structured-random", **by_units})
    arm("scopes", COLLAPSE,
        {**sap, "scope": "global", "gamma": 3.0, "beta": 0.3, "rounds": 20, "within": None, "multiple": 1})  # fmt: skip
    arm("scopes", "sap (1, 2), global", {**sap, "scope": "global"})
    arm("scopes", "lottery-ticket, global", {**ticket, "scope": "global"})
    arm("scopes", "sap (1, 2), neuron", {**sap, "scope": "neuron"})
    arm("scopes", "lottery-ticket, neuron", {**ticket, "scope": "neuron"})
    return found


def arms() -> list[Arm]:
    """All of them, the most telling first."""
    of_families = [recipes(family) for family in FAMILIES]
    longest = max(map(len, of_families))
    return [
        replace(arms[k], preset=preset)
        for k in range(longest)
        for preset in PRESETS
        for arms in of_families
        if k < len(arms)
    ]


def named(name: str, preset: str, family: str) -> Arm:
    """The arm of that name."""
    return next(one for one in arms() if (one.name, one.preset, one.family) == (name, preset, family))
