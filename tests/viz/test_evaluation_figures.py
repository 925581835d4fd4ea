"""The figures of an evaluation: every curve and every floor is drawn, in the same colours in all of them."""

from __future__ import annotations

import numpy as np
from test_figures import assert_drawn, picture, share_of

from wavesim.viz import figures, style
from wavesim.viz.evaluation_figures import bands, coverage, draw_evaluation, receiver

TIME = np.arange(1, 33) / 32
NAMES = ("coarse step", "one", "two")


def results() -> dict:
    rows = [
        {
            "name": name,
            "kind": "coarse" if name == "coarse step" else "forecaster",
            "errors": [(0.02 * (k + 1) * (1 + TIME)).tolist()] * 2,
            "correlation_time": 1.0,
            "curves": {
                band: (0.01 * (k + b + 1) * TIME).tolist() for b, band in enumerate(("long", "middle", "short"))
            },
        }
        for k, name in enumerate(NAMES)
    ]
    heard = {name: np.sin(7 * np.append(0, TIME) + 0.2 * k).tolist() for k, name in enumerate(NAMES)}
    traces = {"trajectory": "packing_7:0", "place": [0.2, 0.3], "truth": heard["one"], "forecasts": heard}
    floors = {"truth": (0.002 + 0 * TIME).tolist(), "grid": (0.009 + 0 * TIME).tolist(), "rounding": [3e-8] * 32}
    about = {"frame_interval": 1 / 32, "frames": 32, "band_limits": [24, 12]}
    return {"rows": rows, "traces": traces, "floors": floors, **about}


def test_the_three_figures_are_drawn_with_every_name_in_one_colour(tmp_path) -> None:
    paths = draw_evaluation(tmp_path, results())
    assert [path.name for path in paths] == ["errors.png", "bands.png", "receiver.png"]
    colours = style.colours_of(NAMES)
    assert len(set(colours.values())) == 3
    for path in paths:
        assert all(share_of(picture(path), colour) > 1e-4 for colour in colours.values()), path


def test_the_bands_stand_side_by_side(tmp_path) -> None:
    curves = {"classical": np.stack([0.1 * TIME, 0.0 * TIME + np.nan, 0.2 * TIME])}
    path = bands(tmp_path / "bands.png", curves, 1 / 32, [24.0, 12.0])
    assert_drawn(path, 10.0, 3.7)
    below = picture(path)[60:]  # without the legend
    left, middle, right = (below[:, third] for third in (slice(0, 400), slice(430, 800), slice(830, 1200)))
    blue = style.colours_of(curves)["classical"]
    assert share_of(left, blue) > 1e-3 < share_of(right, blue) and share_of(middle, blue) < 1e-4


def test_a_receiver_shows_the_difference_below_the_traces(tmp_path) -> None:
    truth = np.sin(9 * np.append(0, TIME))
    path = receiver(
        tmp_path / "receiver.png", truth, {"classical": truth + 0.3 * np.cos(40 * np.append(0, TIME))}, 1 / 32, "here"
    )
    assert_drawn(path, 9.0, 5.2)
    assert share_of(picture(path)[400:], style.PALETTE[0], 40) > 1e-3


def test_floors_are_drawn_below_the_curves(tmp_path) -> None:
    curves = {"classical": 0.1 * np.ones((2, 32))}
    floors = {"floor": 0.001 * np.ones(32)}
    without = picture(figures.error_curves(tmp_path / "without.png", curves, 1 / 32))
    path = figures.error_curves(tmp_path / "with.png", curves, 1 / 32, floors=floors)
    assert_drawn(path, 7.2, 4.2)
    line = style.INK
    assert share_of(picture(path)[300:], line) > 5 * share_of(without[300:460], line) + 1e-3


def test_colours_are_free_ones_for_names_without_their_own() -> None:
    assert style.colours_of(["classical", "coarse step"]) == {"classical": style.PALETTE[0], "coarse step": style.MUTED}
    six = style.colours_of([f"seed {k}" for k in range(6)])
    assert sorted(six.values()) == sorted(style.PALETTE)
    assert style.colours_of(["persistence", "a", "b"])["b"] == style.colours_of(["coarse step", "a", "b"])["b"]


def test_a_bound_is_drawn_with_its_error_and_how_often_it_held(tmp_path) -> None:
    made, ones = results(), np.ones(32)
    band = {"level": 0.9, "bound": (0.1 * ones).tolist(), "error": (0.05 * ones).tolist()}
    band |= {"coverage": (0.88 * ones).tolist(), "interval": np.stack([0.8 * ones, 0.95 * ones], axis=1).tolist()}
    made["rows"][1]["band"] = band
    assert [path.name for path in draw_evaluation(tmp_path, made)][-1] == "coverage.png"
    blue = style.colours_of(["one"])["one"]
    alone = picture(coverage(tmp_path / "alone.png", {"one": band}, 1 / 32))[60:]  # without the legend
    assert_drawn(tmp_path / "alone.png", 10.0, 3.9)
    left, right = alone[:, : alone.shape[1] // 2], alone[:, alone.shape[1] // 2 :]
    assert share_of(left, blue) > 2e-3 and share_of(right, blue) > 1e-3
    seen = picture(coverage(tmp_path / "seen.png", {"one": {**band, "coverage": None, "interval": None}}, 1 / 32))[60:]
    assert share_of(seen[:, : seen.shape[1] // 2], blue) > 2e-3 and share_of(seen[:, seen.shape[1] // 2 :], blue) == 0
