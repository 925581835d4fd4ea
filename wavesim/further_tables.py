"""The other measures of an evaluation beside its headline, as tables in Markdown, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wavesim.metrics import one_crossing
from wavesim.metrics.misfits import SHORTEST
from wavesim.tables import efficient, horizon, short

Row = Mapping[str, Any]
BAND = (
    " Band: a bound on the relative L2 that needs no truth, from `wavesim calibrate`; within: the share of the test's "
    "media, one trajectory each, whose error it held, with Clopper and Pearson's interval of 95 %; bound and error: "
    "their means."
)


def further(results: Mapping[str, Any]) -> str:
    """VRMSE in windows, energy, wavenumber bands, receivers, symmetries and floors, in Markdown; the truth is in none.

    Of results that were made before there were these measures: nothing.
    """
    if "floors" not in results:
        return ""
    rows = [row for row in efficient(results["rows"]) if row["kind"] != "truth"]
    windows = list(rows[0]["vrmse_windows"])
    parts = [
        _table(
            [
                *(f"VRMSE, {'frames' if '-' in window else 'frame'} {window}" for window in windows),
                "mass norm",
                "energy norm",
                "energy drift",
            ],
            rows,
            lambda row: [
                *(short(row["vrmse_windows"][window]) for window in windows),
                short(row["mass_norm"]),
                _number(row["energy_norm"]),
                _number(row["energy_drift"]),
            ],
        ),
        _table(
            ["long waves", "middle", "short", "lag, frames", "lateness, frames", "envelope misfit", "phase misfit"],
            rows,
            lambda row: [
                *(short(row["bands"][name]) for name in ("long", "middle", "short")),
                _number(row["arrival_lag"], ".2f"),
                _number(row["lateness"], "+z.2f"),
                _number(row["envelope_misfit"]),
                _number(row["phase_misfit"]),
            ],
        ),
    ]
    if tested := [row for row in rows if row["symmetries"]]:
        names = list(tested[0]["symmetries"])
        parts.append(_table(names, tested, lambda row: [f"{row['symmetries'][name]:.1e}" for name in names]))
    parts.append(_floors(results))
    if bounded := [row for row in rows if row.get("band")]:
        parts.append(_bands(bounded, results))
    return "\n".join([*parts, explained(results), *_apart(results)])


def explained(results: Mapping[str, Any]) -> str:
    """What the columns mean."""
    (longer, shorter), then = results["band_limits"], horizon(results)
    drift = abs(results["truth_drift"][-1])
    heard, heard_at = results["frames"] + 1, len(results["receivers"])
    short = f" (left out here: it takes {SHORTEST} frames, and there are {heard})" if heard < SHORTEST else ""
    return (
        "Means over the same trajectories as above. VRMSE: over windows of frames, as The Well has them. Mass norm: "
        f"relative L2 of weight 1/kappa, mean over the first crossing. Energy norm: after {then}, the error in "
        "sqrt(v^2 / kappa + |grad p|^2 / rho). Energy drift: |E(t) / E(0) - 1| at the last frame; that of the truth on "
        f"this grid is {drift:.3f}. Long waves are longer than {longer:g} cells, short ones shorter than {shorter:g}: "
        f"errors after {then}, as shares of the whole truth; in each trajectory their squares sum to that of the "
        f"relative L2. At {heard_at} receiver{'s' * (heard_at != 1)}: lag of arrival, the same with its sign (+ late), "
        f"misfit of envelope, and misfit of phase (0.1 is a twentieth of a period){short}. Superposition, homogeneity, "
        "reciprocity: what the exact solution keeps, and by how much the forecast misses it then."
        + BAND
        * any(row.get("band") for row in results["rows"])
    )


def _apart(results: Mapping[str, Any]) -> list[str]:
    """What is other than for a dataset of ours: the crossing, and measures that there are none of."""
    said = []
    if (crossing := results.get("crossing", 1.0)) != 1:
        said.append(
            f"One crossing: {crossing:.4g} in the files' times, which a wave takes along x through a medium of the "
            "mean slowness."
        )
    if untold := results.get("untold"):
        said.append("Not told: " + "; ".join(f"{measure} ({why})" for measure, why in untold.items()) + ".")
    return said


def _floors(results: Mapping[str, Any]) -> str:
    names = {
        "truth": "the truth's own error",
        "grid": "share of the field that the grid cannot hold",
        "rounding": "single precision",
    }
    crossing = one_crossing(results["frame_interval"], results["frames"]) - 1
    head = [f"floor, first {results['first_frames']} frames", horizon(results), "last frame"]
    lines = [
        [names[name], *(f"{value:.1e}" for value in (np.mean(c[: results["first_frames"]]), c[crossing], c[-1]))]
        for name, c in results["floors"].items()
    ]
    return _markdown(head, lines)


def _bands(rows: Sequence[Row], results: Mapping[str, Any]) -> str:
    """Coverage, with its interval of 95 %, and mean bound beside the mean error, after one crossing and at the end."""
    crossing = one_crossing(results["frame_interval"], results["frames"]) - 1

    def cells(row: Row) -> list[str]:
        band = row["band"]
        said = [f"{band['level']:.4g}", str(band["calibrated"]), str(band["tested"])]
        last = len(band["bound"]) - 1
        for at in (min(crossing, last), last):
            held = f"{band['seen']} of them calibrated it"
            if not band["seen"]:
                low, high = band["interval"][at]
                held = f"{band['coverage'][at]:.3f} ({low:.3f} to {high:.3f})"
            said += [held, f"{band['bound'][at]:.3f}", f"{band['error'][at]:.3f}"]
        return said

    head = ["band", "media that calibrated", "media that test"]
    head += [f"{what}, {when}" for when in (horizon(results), "last frame") for what in ("within", "bound", "error")]
    return _table(head, rows, cells)


def _table(head: Sequence[str], rows: Iterable[Row], cells: Callable[[Row], list[str]]) -> str:
    return _markdown(head, [[row["name"], *cells(row)] for row in rows])


def _markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    every = [["", *head], ["---", *["---:"] * len(head)], *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in every) + "\n"


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else short(value) if form == ".3f" else format(value, form)
