"""Which rounds of pruning.py its tables tell of: decided on validation data, and then seen once on the test split.

    times(k) = error of round k / error of the uncut forecaster after as many optimiser steps
What is uncut was rewound and trained again, three times, whose mean stands for all that rewind; went on in short
trainings, one after the other, of which the mean of three next to each other stands for those that go on; and in one
long one, for prunings at once that go on. Of every pruning two rounds are told of, the last one with times <= WITHIN
against its own forecaster, and that against the classical one: how far it can be pruned, and what can take the
classical one's place. Their milliseconds are those of 64 x 64 cells, in turns with the classical forecaster's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.dataset import WaveDataset
from wavesim.provenance import log_lines, read_lines
from wavesim.pruning.run import errors_on
from wavesim.surrogate import load
from wavesim.surrogate.loops import in_loops
from wavesim.turns import forecasting, in_turns

Row = Mapping[str, Any]
Round = tuple[str, int]  # key of a pruning, number of one of its rounds
WITHIN = 1.1
REWOUND, TRAINED_ON, AT_ONCE = "uncut, rewound", "uncut, trained on", "uncut, trained on at once"
FINER = 2  # 64 x 64 cells are twice as many along a side


@dataclass(frozen=True)
class Study:
    """The lines of the study, those that were refused with their rounds; judged: what was seen of chosen rounds."""

    rows: Sequence[Row]
    judged: Mapping[Round, Row]

    def uncut(self, row: Row, number: int, family: str | None = None) -> tuple[Row, Sequence[int]] | None:
        """The line and the rounds of what is uncut after as many steps as the round of `row`; nothing if not there."""
        steps = steps_on(row, number)
        name = REWOUND if not steps else AT_ONCE if row["before"] == 0 and len(row["rounds"]) == 2 else TRAINED_ON
        owner = (family or row["family"], row["preset"], row["seed"])
        for line in self.rows:
            if line["name"] == name and (line["family"], line["preset"], line["seed"]) == owner and line["rounds"]:
                last = len(line["rounds"]) - 1
                if not steps:
                    return line, range(1, last + 1) if number else (0,)
                if name == AT_ONCE:
                    return line, (last,)
                lengths = [steps_on(line, k) for k in range(last + 1)]
                nearest = min(range(last + 1), key=lambda k: abs(lengths[k] - steps))
                near = range(max(nearest - 1, 1), min(nearest + 1, last) + 1)
                return (line, near) if steps <= lengths[-1] else None
        return None

    def times(self, row: Row, number: int, family: str | None = None) -> float | None:
        """Validation error of a round over that of what is uncut, of its own family or another."""
        if (uncut := self.uncut(row, number, family)) is None or not uncut[1]:
            return None
        whole = np.mean([uncut[0]["rounds"][k]["validation_error"] for k in uncut[1]])
        return float(row["rounds"][number]["validation_error"] / whole)

    def last_within(self, row: Row, family: str | None = None) -> int | None:
        """The last round that still counts as equal; nothing where none does."""
        found = [self.times(row, number, family) for number in range(len(row["rounds"]))]
        return max((number for number, times in enumerate(found) if times and times <= WITHIN), default=None)

    def test_times(self, row: Row, number: int, family: str | None = None) -> float | None:
        """As `times`, on the test split; nothing where a round was not judged."""
        if (uncut := self.uncut(row, number, family)) is None:
            return None
        own, whole = self.judged.get((row["key"], number)), [self.judged.get((uncut[0]["key"], k)) for k in uncut[1]]
        if not own or not whole or not all(whole):
            return None
        return float(own["test_error"] / np.mean([one["test_error"] for one in whole if one]))

    def of_preset(self, preset: str) -> Study:
        """Its part on one preset."""
        return Study([row for row in self.rows if row["preset"] == preset], self.judged)

    def arms(self, uncut: bool = False) -> dict[tuple[str, str], list[Row]]:
        """(family, name) -> its lines, one a seed: of prunings, or of what is uncut."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            if (row["group"] == "uncut") == uncut:
                found.setdefault((row["family"], row["name"]), []).append(row)
        return found

    def chosen(self) -> list[Round]:
        """What the tables tell of: of prunings, and what is uncut beside them."""
        found: dict[Round, None] = {}
        for row in self.rows:
            if row["group"] == "uncut":
                continue
            for family in (row["family"], "classical"):
                if (number := self.last_within(row, family)) is not None:
                    line, uncut = self.uncut(row, number, family) or (row, ())
                    found |= dict.fromkeys([(row["key"], number), *((line["key"], k) for k in uncut)])
        return list(found)


def has_cut(row: Row, number: int) -> bool:
    """Whether anything is gone after a round; a round may find nothing to cut."""
    return bool(row["rounds"][number]["density"] < row["rounds"][0]["density"])


def steps_on(row: Row, number: int) -> int:
    """Optimiser steps beyond the forecaster's own; after a rewind there are none."""
    return row["before"] + sum(one["steps"] for one in row["rounds"][: number + 1] if row["going_on"])


def said(values: Sequence[float | None], digits: int = 2) -> str:
    """Mean ± standard deviation of what is there."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


def network(networks: Path, number: int) -> Path:
    """The file of a round's network; named as `wavesim.pruning.prune` names them."""
    return networks / f"round_{number}.safetensors"


def read(rows: Sequence[Row], out: Path) -> Study:
    """The study so far."""
    lines = read_lines(out / "chosen.jsonl")
    return Study(rows, {(line["of"], line["round"]): line for line in lines})


def judge(rows: Sequence[Row], networks: Mapping[str, Path], data: Mapping[str, Path], out: Path) -> None:
    """Add to OUT/chosen.jsonl what is lacking: errors on the test split, milliseconds, bytes of the whole file.

    Args:
        networks: key of a pruning -> folder of its rounds' networks. data: preset -> dataset.
    """
    study, by_key = read(rows, out), {row["key"]: row for row in rows}
    for key, number in study.chosen():
        row, path = by_key[key], network(networks[key], number)
        if (key, number) in study.judged or not path.is_file():
            continue
        one_step, error = errors_on(load(path), data[row["preset"]], "test")
        line = {"of": key, "round": number, "test_one_step_error": one_step, "test_error": error,
                "file_bytes": path.stat().st_size}  # fmt: skip
        if classical := study.uncut({**row, "before": 0}, 0, "classical"):
            base = network(networks[classical[0]["key"]], 0)
            line |= _milliseconds(path, base, data[row["preset"]])
        log_lines(out / "chosen.jsonl", [line], key=f"{key}-{number}")


def _milliseconds(path: Path, classical: Path, data: Path) -> dict[str, float]:
    """Of a frame on cells twice as fine, in turns; fields are those of the data, each cell four times."""
    valid = WaveDataset(data, "valid")
    state, medium = (
        np.ascontiguousarray(fields.repeat(FINER, axis=-1).repeat(FINER, axis=-2))
        for fields in (valid.window(0, 0, 1)[0], valid.medium(0))
    )
    models = {"milliseconds": load(path), "classical_milliseconds": load(classical)}
    works = {name: (forecasting(in_loops(model), state, medium), 1) for name, model in models.items()}
    return {name: least for name, (least, _) in in_turns(works).items()}
