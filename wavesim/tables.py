"""The table of an evaluation, as text: what the command line, the report and the README print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def efficient(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows without the FE runs that another FE run beats in both error and milliseconds, the cheapest first."""
    fe = sorted((row for row in rows if row["kind"] == "fe"), key=lambda row: row["milliseconds"])
    kept = [row for i, row in enumerate(fe) if all(row["one_crossing"] < cheaper["one_crossing"] for cheaper in fe[:i])]
    truth = [row for row in rows if row["kind"] == "truth"]
    return [*(row for row in rows if row["kind"] not in ("fe", "truth")), *kept, *truth]


def _equal(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    if row["equal_fe"] is None:
        return ""
    return next(f"{r['name']}, {r['milliseconds']:.2f} ms" for r in rows if r["name"] == row["equal_fe"])


def horizon(results: Mapping[str, Any]) -> str:
    """What is said of one crossing is said of: the end of the trajectories, where they are shorter."""
    length = float(results["frames"] * results["frame_interval"])
    return "one crossing" if length >= 1 - 1e-9 else f"{length:.2f} crossings"


def headings(results: Mapping[str, Any]) -> list[str]:
    """Of the columns of `table`."""
    errors = [f"rel. L2, first {results['first_frames']} frames", horizon(results), "last frame", "VRMSE"]
    costs = ["parameters", "stored", "MMAC a frame", "ms a frame", "cheapest FE run as good"]
    return ["", *errors, "crossings until correlation < 0.9", "trajectories", *costs]


def short(error: float) -> str:
    """Three decimals, or two digits where these are more."""
    return f"{error:.3f}" if not 0 < error < 0.01 else f"{error:.2g}"


def table(results: Mapping[str, Any]) -> list[list[str]]:
    """The cells as text, one list a row of `efficient`, under `headings`."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else form.format(value)

    return [
        [
            row["name"],
            *_errors(row, results["frames"] * results["frame_interval"]),
            "" if row["kind"] == "truth" else str(len(row["trajectories"])),
            number(row["parameters"], "{:,}"),
            number(row["stored_bytes"] and row["stored_bytes"] / 1e3, "{:.1f} kB"),
            number(row["macs"] and row["macs"] / 1e6, "{:.2f}"),
            number(row["milliseconds"], "{:.2f}"),
            _equal(row, results["rows"]),
        ]
        for row in efficient(results["rows"])
    ]


def _errors(row: Mapping[str, Any], length: float) -> list[str]:
    """The five error columns; the truth is the measure itself and has none here. length: of the rollouts."""
    if row["kind"] == "truth":
        return [""] * 5
    errors = (row[key] for key in ("first_frames", "one_crossing", "last_frame", "vrmse"))
    useful = row["correlation_time"]
    return [*map(short, errors), ("≥ " if useful > length * (1 - 1e-9) else "") + f"{useful:.2f}"]


def markdown(results: Mapping[str, Any]) -> str:
    """The table in Markdown."""
    head = headings(results)
    lines = [head, ["---"] + ["---:"] * (len(head) - 2) + ["---"], *table(results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
