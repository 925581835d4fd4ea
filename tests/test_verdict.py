"""What is said of hand-made results: the sentences, the efficient rows, the FE run of equal error."""

import pytest

from wavesim.evaluate import Row, _with_equal_fe
from wavesim.report import as_text, verdict
from wavesim.tables import efficient, headings, table


def row(name: str, kind: str, error: float, milliseconds: float | None = None, **more: object) -> dict[str, object]:
    values = {"first_frames": error, "one_crossing": error, "last_frame": error, "vrmse": error, "mass_norm": error}
    rest = {"correlation_time": 1.0, "parameters": None, "stored_bytes": None, "macs": None, "equal_fe": None}
    rest["trajectories"] = [0, 2] if kind in ("fe", "truth") else [0, 1, 2, 3]
    return {"name": name, "kind": kind, **values, **rest, "milliseconds": milliseconds, **more}


def results(forecast: float, milliseconds: float) -> dict[str, object]:
    learned = {"parameters": 10, "macs": 1e6, "stored_bytes": 100, "equal_fe": "FE fine"}
    rows = [
        row("persistence", "persistence", 1.5),
        row("coarse step", "coarse", 0.6, 0.3, equal_fe="FE coarse"),
        row("classical", "forecaster", forecast, 2 * milliseconds, **{**learned, "parameters": 40, "macs": 4e6}),
        row("compressed", "forecaster", forecast, milliseconds, **learned),
        row("FE coarse", "fe", 0.5, 0.5),
        row("FE dear", "fe", 0.5, 0.6),
        row("FE fine", "fe", 0.05, 2.0),
        row("FE truth", "truth", 0.0, 9.0),
    ]
    own = {"pressure": {"mean": 0.01, "last": 0.02}, "pressure_rate": {"mean": 0.1, "last": 0.2}}
    about = {"frames": 64, "frame_interval": 1 / 32, "trajectories": 4, "grid": [64, 64]}
    return {"rows": rows, "first_frames": 10, "ladder": True, "truth_error": own, **about}


def test_the_verdict_says_who_beats_persistence_and_who_does_not() -> None:
    said = " ".join(verdict(results(0.7, 1.0)))
    assert "compressed forecaster beats persistence clearly" in said and "NOT" not in said
    assert "compressed forecaster does NOT beat persistence clearly" in " ".join(verdict(results(0.8, 1.0)))


def test_the_verdict_says_who_wins_against_finite_elements_and_by_how_much() -> None:
    assert "the compressed forecaster wins by 2.0 times" in " ".join(verdict(results(0.1, 1.0)))
    assert "the compressed forecaster loses by 2.0 times" in " ".join(verdict(results(0.1, 4.0)))
    assert "the compressed forecaster is even: 2.01 ms" in " ".join(verdict(results(0.1, 2.01)))
    without = {**results(0.1, 1.0), "ladder": False}
    said = " ".join(verdict(without))
    assert "Nothing was compared with finite elements" in said and "wins" not in said and "dolfinx" not in said


def test_the_verdict_compares_the_twins() -> None:
    said = " ".join(verdict(results(0.1, 1.0)))
    assert "Of the classical forecaster the compressed one has 0.25 of the parameters, 0.25 of the multiply" in said


def test_a_forecaster_as_good_as_no_run_of_the_ladder_is_not_said_to_win() -> None:
    made = results(0.01, 1.0)
    for row in made["rows"]:  # type: ignore[attr-defined]
        if row["equal_fe"] == "FE fine":
            row["equal_fe"] = "FE truth"
    said = " ".join(verdict(made))
    assert "No run of the ladder is as good as the compressed forecaster: 1.00 ms a frame, and 9.00 ms" in said
    assert "wins" not in said


def test_the_verdict_says_which_forecaster_is_worse_than_the_coarse_step() -> None:
    assert "WORSE" not in " ".join(verdict(results(0.1, 1.0)))
    assert "The pruned forecaster is, after one crossing, WORSE" not in " ".join(verdict(results(0.7, 1.0)))
    assert "The compressed forecaster is, after one crossing, WORSE than the coarse explicit step" in " ".join(
        verdict(results(0.7, 1.0))
    )


def test_a_forecaster_that_grew_or_was_not_timed_leaves_the_rest_its_verdict() -> None:
    made = results(0.1, 1.0)
    made["stopped"] = {"free": {"trajectory": "packing_7:1", "frame": 37}}
    said = verdict(made)
    assert "The free forecaster grew without bound: it was stopped at frame 37 of packing_7:1, and has no row." in said
    made["rows"][3]["milliseconds"] = None  # type: ignore[index]
    said = " ".join(verdict(made))
    assert "the classical forecaster is even" in said and "the compressed forecaster wins" not in said
    assert "0.25 of the parameters, 0.25 of the multiply-accumulates, 1.00 of the error" in said
    none_left = {**made, "rows": [row for row in made["rows"] if row["kind"] != "forecaster"]}  # type: ignore[attr-defined]
    assert "coarse explicit step" not in " ".join(verdict(none_left))


def test_a_truth_too_coarse_to_judge_by_is_named_first() -> None:
    coarse = {"truth_error": {"pressure": {"mean": 0.06, "last": 0.14}}}
    assert verdict({**results(0.1, 1.0), **coarse})[0].startswith("The truth is coarse: its own error is 6.0%")
    assert "coarse: its own" not in " ".join(verdict(results(0.1, 1.0)))
    assert "coarse: its own" not in " ".join(verdict({**results(0.1, 1.0), "truth_error": {}}))


def test_the_text_explains_its_columns_and_states_the_truths_own_error() -> None:
    said = as_text(results(0.1, 1.0))
    for part in ("root mean square", "1 % in the mean", "10 % in the mean and 20 % at the last frame in p_t"):
        assert part in said


def test_the_text_says_which_forecasters_were_timed_in_pytorch() -> None:
    made = results(0.1, 1.0)
    assert "the faster of ONNX Runtime and compiled loops. MMAC" in as_text(made)
    for one, runtime in zip(made["rows"][1:4], ("compiled loops", "PyTorch", "PyTorch"), strict=True):  # type: ignore[index]
        one["runtime"] = runtime
    said = "ONNX Runtime and compiled loops; in PyTorch those that neither knows: classical, compressed. MMAC"
    assert said in as_text(made)


def test_of_trajectories_shorter_than_a_crossing_nothing_is_said_to_be_after_one() -> None:
    made = {**results(0.7, 1.0), "frames": 7, "first_frames": 7}
    said = as_text(made)
    assert said.startswith("|  | rel. L2, first 7 frames | 0.22 crossings | last frame |")
    assert "is, after 0.22 crossings, WORSE" in said and "0.22 crossings long" in said and "one crossing" not in said


def test_errors_of_smooth_media_keep_two_digits() -> None:
    assert [cells[1] for cells in table(results(0.0042, 1.0))[1:3]] == ["0.600", "0.0042"]


def test_a_correlation_that_never_falls_is_a_lower_bound() -> None:
    made = results(0.1, 1.0)
    made["rows"][1]["correlation_time"] = 2.0  # type: ignore[index]
    assert [cells[5] for cells in table(made)[:2]] == ["1.00", "≥ 2.00"]


def test_fe_runs_that_another_beats_in_error_and_cost_are_not_shown() -> None:
    shown = [row["name"] for row in efficient(results(0.1, 1.0)["rows"])]  # type: ignore[arg-type]
    assert shown == ["persistence", "coarse step", "classical", "compressed", "FE coarse", "FE fine", "FE truth"]
    cells = table(results(0.1, 1.0))
    assert cells[3][-1] == "FE fine, 2.00 ms" and cells[-1][1:6] == [""] * 5


def test_the_table_says_over_how_many_trajectories_each_row_is() -> None:
    head = headings(results(0.1, 1.0))
    column = head.index("trajectories")
    assert [cells[column] for cells in table(results(0.1, 1.0))] == ["4", "4", "4", "4", "2", "2", ""]
    assert len(table(results(0.1, 1.0))[0]) == len(head)
    assert "as many test trajectories as the table says, of 4, on 64 x 64 cells" in as_text(results(0.1, 1.0))


@pytest.mark.parametrize(("error", "expected"), [(0.5, "cheap"), (0.2, "middle"), (0.05, "truth")])
def test_the_equal_fe_run_is_the_cheapest_as_good_on_what_both_have_run(error: float, expected: str) -> None:
    def made(name: str, kind: str, errors: list[float], milliseconds: float, trajectories: list[int]) -> Row:
        numbers = dict.fromkeys(("vrmse", "first_frames", "one_crossing", "last_frame", "mass_norm"), 9.9)
        columns = [[e, e] for e in errors]
        return Row(name, kind, trajectories, columns, **numbers, correlation_time=1.0, milliseconds=milliseconds)

    rows = [
        made("cheap", "fe", [0.4, 0.4], 1.0, [0, 2]),
        made("middle", "fe", [0.1, 0.1], 2.0, [0, 2]),
        made("fine", "fe", [0.1, 0.05], 20.0, [0, 2]),
        made("truth", "truth", [0.0, 0.0], 10.0, [0, 2]),
    ]
    # Its error on trajectory 1 is huge, and does not count: no FE run was made of it.
    forecast = made("forecast", "forecaster", [error, 99.0, error], 3.0, [0, 1, 2])
    assert _with_equal_fe(forecast, rows, crossing=1).equal_fe == expected
    assert _with_equal_fe(rows[0], rows, crossing=1) is rows[0]
