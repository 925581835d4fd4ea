"""The sweep of the jamming diagram: its lines, its means, and a run that is killed, extended, or fails in parts."""

from __future__ import annotations

import inspect
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from matplotlib.figure import Figure

from wavesim import cli_generate
from wavesim.cli import main
from wavesim.errors import WavesimError
from wavesim.granular import diagram, diagram_figure, generate_mixture, measures, progress, read_packings
from wavesim.granular._lammps import EngineError
from wavesim.granular.diagram import furnas, generate_diagram, points, summarise
from wavesim.granular.jamming import Compression, NotJammedError
from wavesim.granular.progress import counted
from wavesim.granular.storage import begin
from wavesim.granular.transition import Bracket
from wavesim.lock import sole_user
from wavesim.mixtures import read_diagram

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "packings.h5"
GRID = points((0.7,), (0.3, 0.6), 32, 2)
COMMAND = ["--dim", "2", "--size-ratios", "0.7", "--fractions", "0.3,0.6", "--particles", "32", "--seeds", "3"]


def lines(out: Path, name: str = "diagram.jsonl") -> list[dict]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def settled(out: Path) -> list[dict]:
    """Without what depends on the machine's mood: seconds, and who is finished first."""
    known = [{key: value for key, value in line.items() if key != "seconds"} for line in lines(out)]
    return sorted(known, key=lambda line: (line["number"], line["small_fraction"]))


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> tuple[Path, list[dict]]:
    out = tmp_path_factory.mktemp("diagram")
    return out, generate_diagram(GRID, 3, out, workers=2, progress=False)


def test_the_limits_of_furnas_cross_where_they_should():
    """For phi_R = 0.64 at X_S = 0.36 / 1.36 and phi = 0.870; one species alone is at phi_R."""
    crossing = 0.36 / 1.36
    large, small = furnas(np.array([0.0, crossing, 1.0]), 0.64)
    assert large[0] == small[2] == 0.64 and small[0] == 1 and large[2] == np.inf
    assert large[1] == pytest.approx(small[1], rel=1e-12) and large[1] == pytest.approx(0.8704, abs=1e-4)


def test_every_line_holds_a_balanced_packing_whose_two_phi_j_agree(swept):
    for line in lines(swept[0]):
        assert line["unbalanced_force"] < 1e-4
        found = Bracket(line["phi_unjammed"], line["phi_jammed"], line["probes"])
        assert 0 < found.width <= line["pressure"] < 2e-5
        for way in ("phi_j", "phi_j_extrapolated"):
            assert found.misses(line[way]) < 0.5 * line["pressure"]
        assert line["phi_j"] == pytest.approx(line["phi_j_extrapolated"], abs=2e-4)
        assert line["phi_j_carrying"] <= line["phi_j"]
        assert line["LL"] + line["LS"] + line["SS"] == pytest.approx(line["bulk_modulus"], rel=1e-4)
        assert 0.5 < line["carrying_small"] <= 1 and 0.5 < line["carrying_large"] <= 1


def test_means_and_deviations_are_those_of_the_lines(swept):
    out, rows = swept
    assert len({line["phi_j"] for line in lines(out)}) == 6
    assert [row["small_fraction"] for row in rows] == [0.3, 0.6]
    for row in rows:
        for name in ("phi_j", "bulk_modulus", "SS", "carrying_small"):
            values = [line[name] for line in lines(out) if line["small_fraction"] == row["small_fraction"]]
            assert len(values) == 3 == row["packings"]
            assert row[name] == pytest.approx(sum(values) / 3)
            spread = (sum((value - row[name]) ** 2 for value in values) / 2) ** 0.5
            assert row[f"{name}_deviation"] == pytest.approx(spread)
    assert json.loads((out / "diagram.json").read_text())["rows"] == rows


def test_a_mean_is_never_over_packings_of_two_kinds():
    """Two in which the large ones jam alone, at phi_J 0.79, and one joint at 0.81; without the gap all three count."""
    line = {"seconds": 1.0}
    lines = [{**line, "phi_j": phi, "carrying_small": share} for phi, share in ((0.79, 0.0), (0.81, 0.9), (0.80, 0.01))]
    mixture = points((0.15,), (0.2,), 3000, 3)[0]
    row = diagram._row(mixture, lines, 0)
    assert (row["packings"], row["others"]) == (3, 1)
    assert row["phi_j"] == pytest.approx(0.795) and row["carrying_small"] == pytest.approx(0.005)
    assert row["each"]["phi_j"] == [0.79, 0.81, 0.80]
    joint = diagram._row(mixture, [lines[0], lines[1], {**lines[1], "phi_j": 0.812}], 0)
    assert joint["others"] == 1 and joint["phi_j"] == pytest.approx(0.811)
    alike = diagram._row(mixture, [lines[0], {**lines[1], "carrying_small": 0.45}, lines[2]], 0)
    assert alike["others"] == 0 and alike["phi_j"] == pytest.approx(0.80)


def test_a_point_depends_on_its_mixture_and_seed_alone(swept, tmp_path):
    """Made after others or alone, by one process or two, at once or a seed at a time."""
    for seeds in (1, 3):
        generate_diagram(GRID[1:], seeds, tmp_path, workers=1, progress=False)
    assert settled(tmp_path) == [line for line in settled(swept[0]) if line["small_fraction"] == 0.6]


def test_a_killed_sweep_is_completed_by_a_second_call(swept, tmp_path):
    command = [
        sys.executable,
        "-m",
        "wavesim",
        "generate",
        "diagram",
        *COMMAND,
        "--workers",
        "1",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (tmp_path / "diagram.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert 0 < len(lines(tmp_path)) < 6
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, done.stderr
    assert settled(tmp_path) == settled(swept[0])
    assert (tmp_path / "diagram.png").stat().st_size > 10_000


def sweep_of_one() -> list[str]:
    return [sys.executable, "-m", "wavesim", "generate", "diagram", "--fractions", "0.4", "--particles", "3000",
            "--seeds", "1", "--size-ratios", "0.4"]  # fmt: skip


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)])
def test_an_interrupt_ends_a_sweep_at_once_without_a_traceback(tmp_path, number, code):
    """A packing of 3000 spheres takes a minute; its process shares the pipe, which closes when it has ended too."""
    command = [*sweep_of_one(), "--out", str(tmp_path)]
    # Who runs the tests in the background has interrupts ignored, and what is started inherits that.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard)
    deadline = time.monotonic() + 60
    while not (tmp_path / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(number)
    begin = time.monotonic()
    printed, said = process.communicate(timeout=30)
    assert process.returncode == code and time.monotonic() - begin < 15
    assert printed == "" and "Traceback" not in said and len(said.splitlines()) <= 1
    assert not (tmp_path / "diagram.jsonl").exists()


def waits_for_the_other(job: diagram._Job) -> tuple[dict[str, int], list]:
    """The first job ends when a file is there that the test writes once it has heard of the second one."""
    deadline = time.monotonic() + 60
    while job.number == 0 and not Path(job.protocol.describe()).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return {"number": job.number}, []


@dataclass(frozen=True)
class Named:
    path: str

    def describe(self) -> str:
        return self.path


def test_what_is_finished_behind_a_slow_packing_is_known_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(diagram, "_make", waits_for_the_other)
    flag, known = tmp_path / "flag", []
    for _, (row, _) in diagram._outcomes([diagram._Job(GRID[0], 0, k, Named(str(flag))) for k in (0, 1)], 2):
        known.append(row["number"])
        flag.write_text("")
    assert known == [1, 0]


def test_what_stops_the_engine_is_a_failed_attempt_and_an_engine_that_is_not_there_is_none(monkeypatch):
    """The first is logged with the line that did it; the second is no property of the mixture, and ends the sweep."""

    def raising(error: Exception):
        def descended(*_):
            raise error

        return descended

    job = diagram._Job(GRID[0], 0, 0, Compression())
    monkeypatch.setattr(diagram, "descended", raising(EngineError("LAMMPS stopped at 'minimize 0': Lost atoms")))
    row, failures = diagram._make(job)
    assert row is None and [line["reason"] for line in failures] == ["LAMMPS stopped at 'minimize 0': Lost atoms"] * 3
    monkeypatch.setattr(diagram, "descended", raising(WavesimError("LAMMPS cannot be loaded")))
    with pytest.raises(WavesimError, match="cannot be loaded"):
        diagram._make(job)


def test_a_mixture_named_twice_is_one_and_two_sweeps_in_one_folder_are_refused(swept, tmp_path):
    out, rows = swept
    assert generate_diagram([*GRID, GRID[0]], 3, out, progress=False) == rows
    with sole_user(tmp_path), pytest.raises(WavesimError, match="is at work"):
        generate_diagram(GRID, 3, tmp_path, progress=False)


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch, capsys):
    with counted("diagram", 24, 5) as finished:
        finished("X_S 0.1: phi_J 0.6965")
        assert capsys.readouterr() == ("", "")  # the last line is not half a minute ago
        monkeypatch.setattr(progress, "SECONDS", 0.0)
        finished("X_S 0.3: phi_J 0.7")
    said = capsys.readouterr().err
    assert said.startswith("diagram 7 of 24 packings after 0:00:0") and said.endswith(" to go; X_S 0.3: phi_J 0.7\n")
    with counted("diagram", 24, 5, show=False) as finished:
        finished("X_S 0.3: phi_J 0.7")
    assert capsys.readouterr() == ("", "")


def test_what_never_balances_is_counted_and_not_tried_again(tmp_path, monkeypatch):
    hasty = Compression(steps=40, stretch=20)
    (row,) = generate_diagram(GRID[:1], 1, tmp_path, workers=1, progress=False, protocol=hasty)
    assert (row["packings"], row["failed"]) == (0, 2) and "phi_j" not in row
    reasons = lines(tmp_path, "failed.jsonl")
    assert [line["attempt"] for line in reasons] == 2 * list(range(diagram.ATTEMPTS))  # a start, and one in its place
    assert all("not in mechanical equilibrium" in line["reason"] for line in reasons)
    monkeypatch.setattr(diagram, "_outcomes", lambda jobs, workers: pytest.fail("tried again"))
    assert generate_diagram(GRID[:1], 1, tmp_path, workers=1, progress=False, protocol=hasty) == [row]


def test_a_start_that_is_lost_is_replaced_once(swept, tmp_path, monkeypatch):
    """Of three starts the second is lost; the packings are those of numbers 0, 2 and 3."""
    rows, _ = swept
    own = next(line for line in lines(rows) if line["small_fraction"] == GRID[0].small_fraction)
    some, begun = {name: value for name, value in own.items() if name != "key"}, []

    def outcomes(jobs, workers):
        begun.extend(job.number for job in jobs)
        reasons = [{"attempt": attempt, "reason": "not in equilibrium"} for attempt in range(diagram.ATTEMPTS)]
        return ((job, (None, reasons) if job.number == 1 else ({**some, "number": job.number}, [])) for job in jobs)

    monkeypatch.setattr(diagram, "_outcomes", outcomes)
    (row,) = generate_diagram(GRID[:1], 3, tmp_path, workers=1, progress=False)
    assert begun == [0, 1, 2, 3] and (row["packings"], row["failed"]) == (3, 1)
    assert generate_diagram(GRID[:1], 3, tmp_path, workers=1, progress=False) == [row] and len(begun) == 4


def test_a_packing_of_two_minds_about_phi_j_is_no_point_of_the_diagram(monkeypatch):
    """A twentieth of its bulk modulus puts phi_J twenty times as far below; the engine is left out."""
    packing = read_packings(SAMPLE)[3]
    assert packing.bulk_modulus is not None
    distance = packing.phi - packing.phi_j
    near = Bracket(packing.phi_j - 0.1 * distance, packing.phi_j + 0.1 * distance, 4)
    monkeypatch.setattr(measures, "bracket", lambda *_: near)
    assert measures.measured(packing, Compression())["phi_j"] == packing.phi_j
    wrong = replace(packing, phi_j=packing.phi - 20 * distance)
    with pytest.raises(NotJammedError, match="differ by more than"):
        measures.measured(wrong, Compression())
    far = Bracket(packing.phi_j - 1e-3, packing.phi_j - 9e-4, 4)  # both extrapolations agree, and what carries does not
    monkeypatch.setattr(measures, "bracket", lambda *_: far)
    with pytest.raises(NotJammedError, match="by what carries, which differ"):
        measures.measured(packing, Compression())


def test_a_row_tells_how_far_ways_to_phi_j_differ_and_lie_outside_of_its_brackets():
    line = {"seconds": 1.0, "phi_j": 0.64, "phi_j_extrapolated": 0.6401}
    inside, outside = (0.6399, 0.6402), (0.6404, 0.6408)
    lines = [{**line, "phi_unjammed": a, "phi_jammed": b, "probes": 4} for a, b in (inside, outside)]
    lines[0]["bulk_modulus_strain"], lines[0]["bulk_modulus"] = 0.303, 0.3
    assert diagram._row(GRID[0], [*lines, {**lines[0], "phi_j": 0.6404}], 0)["apart"] == pytest.approx(3e-4)
    row = diagram._row(GRID[0], lines, 0)
    assert row["bracket"] == pytest.approx(4e-4) and row["outside"] == pytest.approx(4e-4)
    assert row["strain_ratio"] == pytest.approx(1.01)
    assert "bracket" not in diagram._row(GRID[0], [{**line, "phi_unjammed": 0.5, "phi_jammed": 0.7}], 0)


def test_what_is_there_is_summarised_without_making_more(swept, tmp_path):
    """Of five seeds asked for, the three that are there; and nothing of another protocol."""
    (tmp_path / "diagram.jsonl").write_text((swept[0] / "diagram.jsonl").read_text())
    assert summarise(GRID, 5, tmp_path) == swept[1]
    assert [row["packings"] for row in summarise(GRID, 5, tmp_path, protocol=Compression(pressure=1e-4))] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size-ratios", "0.7;0.4"), "--size-ratios '0.7;0.4' are no numbers separated by commas"),
        (("--fractions", "0.5,1.5"), "small_fraction 1.5 is not between 0 and 1"),
        (("--size-ratios", "0.15", "--fractions", "0.2"), "use at least"),
        (("--size-ratios", "0.05"), "size_ratio 0.05 is not in [0.1, 1]"),
    ],
)
def test_a_diagram_that_cannot_be_is_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(sys, "argv", ["wavesim", "generate", "diagram", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_point_that_cannot_be_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(WavesimError, match="without a small one"):
        points((0.7,), (0.3, 1e-6), 32, 2)
    with pytest.raises(WavesimError, match="give at least one of both"):
        generate_diagram(GRID, 0, tmp_path / "out")
    with pytest.raises(WavesimError, match="workers 0"):
        generate_diagram(GRID, 1, tmp_path / "out", workers=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(WavesimError, match="is a file; give a folder"):
        generate_diagram(GRID, 1, tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_the_figure_joins_no_mixtures_that_are_far_apart():
    rows = [{"small_fraction": x, "phi_j": 0.7, "phi_j_deviation": 0.0} for x in (0.0, 0.25, 0.6, 1.0)]
    for chosen, broken in ((rows, []), ([rows[0], rows[1], rows[3]], [2]), ([rows[0], rows[2], rows[3]], [1])):
        axis = Figure().subplots()
        diagram_figure._line(axis, chosen, "phi_j", "-o", "k")
        assert np.flatnonzero(np.isnan(axis.lines[0].get_xdata())).tolist() == broken


def test_the_figure_of_a_second_line_compares_k_at_one_pressure_on_both_sides_of_its_end(tmp_path):
    """X*_S is between 0.15 and 0.2; no legend covers anything, and there is nothing to draw of another size ratio."""

    def row(ratio: float, fraction: float, joint: bool) -> dict:
        known = {"phi_j": 0.7, "bulk_modulus": 0.3, "LL": 0.3, "carrying_small": joint}
        known["bulk_modulus_path"] = 1 + fraction
        if not joint:
            known |= {"phi_j2": 0.8, "distance": 0.1 - fraction / 10, "bulk_modulus_2": 0.9, "LL_2": 0.6}
        spread = {f"{name}_deviation": 0.01 for name in known}
        several = {"packings": 3, "others": 0, "second": 0 if joint else 3}
        return {"dim": 3, "size_ratio": ratio, "small_fraction": fraction, **several, **known, **spread}

    own = [row(0.2, fraction, fraction > 0.15) for fraction in (0.1, 0.15, 0.2, 0.3, 0.6)]
    figures: list[Figure] = []
    with mock.patch.object(Figure, "savefig", lambda figure, part, **_: (figures.append(figure), part.touch())):
        diagram_figure.draw([*own, row(0.5, 0.1, True)], tmp_path / "diagram.png")
    above, below = figures[0].subfigs
    assert not any(axis.get_legend() for axis in (*above.axes, *below.axes)) and above.legends and below.legends
    along, empty = below.axes[2:4]
    drawn = {tuple(line.get_xdata()): tuple(line.get_ydata()) for line in along.lines if line.get_linestyle() == ":"}
    assert drawn == {(0.1, 0.15, 0.2, 0.3): (1.1, 1.15, 1.2, 1.3)}
    assert [patch.get_extents().transformed(along.transData.inverted()).x0 for patch in along.patches] == [
        pytest.approx(0.15)
    ]
    assert not empty.lines and not empty.axison


def test_the_default_grid_can_be():
    own = {name: one.default for name, one in inspect.signature(cli_generate.generate_diagram).parameters.items()}
    ratios, fractions = ([float(word) for word in own[name].split(",")] for name in ("size_ratios", "fractions"))
    assert len(points(ratios, fractions, own["particles"], own["dim"])) == 18


def test_a_diagram_and_packings_do_not_share_a_folder(swept, tmp_path):
    """Both log what failed in failed.jsonl, each by keys of its own."""
    begin(tmp_path / "packings.h5", {})
    (tmp_path / "failed.jsonl").write_text('{"name": "000000", "attempt": 0, "reason": "none"}\n')
    with pytest.raises(WavesimError, match=r"holds packings.h5, .* give another folder"):
        generate_diagram(GRID, 3, tmp_path, progress=False)
    with pytest.raises(WavesimError, match=r"holds a jamming diagram, .* give another folder"):
        generate_mixture(GRID[0], 1, swept[0], 0, progress=False)
    assert not (swept[0] / "packings.h5").exists()


def test_a_point_of_the_diagram_has_one_number_of_particles(swept, monkeypatch):
    out, rows = swept
    monkeypatch.setattr(diagram, "_outcomes", lambda jobs, workers: pytest.fail("begun"))
    before = (out / "diagram.json").read_bytes()
    with pytest.raises(WavesimError, match=r"packings of 32 and of 40 particles at size ratio 0.7, X_S 0.3: give the"):
        generate_diagram(points((0.7,), (0.3,), 40, 2), 1, out, progress=False)
    assert (out / "diagram.json").read_bytes() == before
    assert len(read_diagram(out, dim=2).small_fractions[0]) == len(rows)


def test_a_diagram_is_of_one_seed_and_of_one_dimension(swept, monkeypatch):
    """Its rows are means over the packings of one seed, and its pictures have one unit of K."""
    out, _ = swept
    monkeypatch.setattr(diagram, "_outcomes", lambda jobs, workers: pytest.fail("begun"))
    before = (out / "diagram.json").read_bytes()
    with pytest.raises(WavesimError, match=r"packings of seed 0 and 7: give one of them, or another folder"):
        generate_diagram(GRID, 3, out, seed=7, progress=False)
    spheres = points((0.7,), (0.3,), 64, 3)
    with pytest.raises(WavesimError, match=r"packings of dim 2 and 3"):
        generate_diagram(spheres, 3, out, progress=False)
    with pytest.raises(WavesimError, match=r"packings of dim 2 and 3"):
        generate_diagram([*GRID, *spheres], 3, out / "both", progress=False)
    assert (out / "diagram.json").read_bytes() == before


def test_the_particles_that_a_grid_asks_for_are_enough_for_all_of_it():
    grid = (0.73, 0.3), (0.1, 0.4, 0.8)
    with pytest.raises(WavesimError, match="use at least") as refused:
        points(*grid, 20, 3)
    needed = int(re.search(r"use at least (\d+) particles", str(refused.value)).group(1))
    assert len(points(*grid, needed, 3)) == 6
    with pytest.raises(WavesimError, match=f"use at least {needed} particles"):
        points(*grid, needed - 1, 3)


def test_the_committed_diagram_s_script_runs(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "jamming.py"
    command = [sys.executable, str(script), "--quick", "--out", str(tmp_path)]
    table = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert "nan" not in table
    for block in table.split("\n\n"):  # the cells of a row stand under its heads
        assert len({line.count("|") for line in block.splitlines() if line.startswith("|")}) <= 1, block
    for part in table.split("| LL | LS | SL | SS |"):  # the diagram, and contacts by kind
        assert part.count("\n| 0.73 |") == 2 and part.count("\n| disks-0.71 |") == 1
    assert sorted(path.name for path in tmp_path.glob("*.*g")) == ["disks.png", "spheres.png"]


def test_a_way_down_without_two_states_is_refused(tmp_path):
    with pytest.raises(WavesimError, match=r"pressure 0.001 at the end of a way down from start_pressure 0.001"):
        generate_diagram(GRID, 1, tmp_path, protocol=Compression(pressure=1e-3))


def test_another_call_adds_its_mixtures_to_the_means(swept, tmp_path):
    first = generate_diagram(GRID[1:], 2, tmp_path, workers=1, progress=False)
    both = generate_diagram(GRID[:1], 1, tmp_path, workers=1, progress=False)
    assert [row["small_fraction"] for row in both] == [0.3, 0.6]
    assert both[1] == first[0] and (both[0]["packings"], both[1]["packings"]) == (1, 2)
    assert json.loads((tmp_path / "diagram.json").read_text())["rows"] == both
