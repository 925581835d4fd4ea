"""The window under a virtual X server, with a real mouse and keyboard; and the same picture off the screen.

The server writes its screen to a file (X window dump), so that what is tested is what a user would see.
"""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
from viz_stubs import ToyForecaster, ToyTruth, step_wave, toy_models

from wavesim.errors import WavesimError
from wavesim.viz import window
from wavesim.viz.scene import Scene, numbers, place_in_field
from wavesim.viz.session import Session

# The fields of a window of 1320 x 740 pixels, measured on its picture: left edges, top edge, side.
LEFT, TOP, SIDE = (27, 420, 814), 57, 374
STUBS = Path(__file__).with_name("viz_stubs.py")


class Screen:
    """A virtual display with one window on it."""

    def __init__(self, folder, environment, process, said):
        self.folder, self.environment, self.process, self.said = folder, environment, process, said
        self.window = self.tool("search", "--sync", "--onlyvisible", "--name", "wavesim").split()[0]

    def tool(self, *arguments):
        done = subprocess.run(["xdotool", *arguments], env=self.environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def picture(self):
        """(y, x, 3) int of the window, row 0 at the top."""
        place = dict(line.split("=") for line in self.tool("getwindowgeometry", "--shell", self.window).split())
        x, y, width, height = (int(place[key]) for key in ("X", "Y", "WIDTH", "HEIGHT"))
        dump = (self.folder / "Xvfb_screen0").read_bytes()
        header = np.frombuffer(dump, ">u4", 25)
        start, columns, rows, line = int(header[0] + 12 * header[19]), int(header[4]), int(header[5]), int(header[12])
        pixels = np.frombuffer(dump, np.uint8, rows * line, start).reshape(rows, line)[:, : 4 * columns]
        screen = pixels.reshape(rows, columns, 4)[..., 2::-1].astype(int)
        return screen[y : y + height, x : x + width]

    def click(self, x, y):
        self.tool("mousemove", "--window", self.window, str(x), str(y), "click", "1")

    def key(self, name):
        self.tool("windowfocus", self.window, "key", name)

    def wait(self, true, seconds=30.0):
        """Look at the window until `true(picture)` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            picture = self.picture()
            if true(picture):
                return picture
            assert self.process.poll() is None, "the window closed"
            time.sleep(0.1)
        raise AssertionError("it did not show up on the screen in time")

    def heard(self, word):
        """Wait until the session has said a line that begins with `word`; its last such line, in words."""
        self.wait(lambda _: word in self.said.read_text())
        return [line.split() for line in self.said.read_text().splitlines() if line.startswith(word)][-1]

    def still(self):
        """The window once it has not changed for a second: the last frame in hand may come after a pause."""
        looks = [self.picture()]

        def unchanged(picture):
            looks.append(picture)
            return len(looks) > 10 and all(np.array_equal(picture, look) for look in looks[-10:])

        return self.wait(unchanged)


@pytest.fixture
def screen(tmp_path):
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp", "-fbdir", str(tmp_path)],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as number:
        environment = {**os.environ, "DISPLAY": f":{number.readline().strip()}", "OMP_NUM_THREADS": "1"}
    said = tmp_path / "said.txt"
    with open(said, "w") as output:
        process = subprocess.Popen([sys.executable, str(STUBS), "120"], env=environment, stdout=output)
    try:
        yield Screen(tmp_path, environment, process, said)
    finally:
        for running in (process, server):
            running.terminate()
            running.wait(timeout=10)


def field(picture, k):
    return picture[TOP : TOP + SIDE, LEFT[k] : LEFT[k] + SIDE]


def coloured(pixels):
    """How far from grey each pixel is."""
    return pixels.max(axis=-1) - pixels.min(axis=-1)


def test_the_window_moves_pauses_takes_a_click_where_it_was_made_and_closes(screen):
    first = screen.wait(lambda p: coloured(field(p, 0)).max() > 80)
    screen.wait(lambda p: np.abs(field(p, 0) - field(first, 0)).mean() > 2)  # it moves, truth
    screen.wait(lambda p: np.abs(field(p, 1) - field(first, 1)).mean() > 2)  # and forecast

    screen.key("e")  # the error as it is: magnified, it shows how the two discretise the pulse that is to come
    screen.key("space")
    screen.heard("paused")
    paused = screen.still()
    x, y = 0.75, 0.7  # of the unit square; clicked in the field of the error, which is like the others a view of it
    screen.click(LEFT[2] + round(x * SIDE), TOP + round((1 - y) * SIDE))
    assert np.allclose([float(number) for number in screen.heard("pulse")[1:]], [x, y], atol=0.005)
    screen.wait(lambda p: not np.array_equal(p, paused))
    clicked = screen.still()
    for k in (0, 1):
        change = np.abs(field(clicked, k) - field(paused, k)).sum(axis=-1)
        rows, columns = np.nonzero(change > 40)
        # A Gaussian of width 0.05 on a scale of 0.35 can be told from what was there out to about three widths.
        assert abs(columns.mean() / SIDE - x) < 0.02 and abs(1 - rows.mean() / SIDE - y) < 0.02
        assert 0.1 < np.ptp(columns) / SIDE < 0.4 and 0.1 < np.ptp(rows) / SIDE < 0.4
        centre = field(clicked, k)[round((1 - y) * SIDE), round(x * SIDE)]
        assert centre[0] > centre[2] + 60  # red: a positive pulse
    assert np.abs(field(clicked, 2) - field(paused, 2)).max() < 12  # the same for both: no error

    screen.key("2")
    screen.wait(lambda p: not np.array_equal(field(p, 2), field(clicked, 2)))  # the new forecast starts without error
    screen.key("n")
    screen.wait(lambda p: np.abs(field(p, 0) - field(clicked, 0)).mean() > 5)
    screen.key("space")
    before = screen.picture()
    screen.wait(lambda p: np.abs(field(p, 0) - field(before, 0)).mean() > 2)
    screen.key("q")
    assert screen.process.wait(timeout=10) == 0


def test_a_place_on_the_plane_is_a_place_in_one_of_three_fields():
    assert place_in_field(0.25, 0.5) == (0.25, 0.5)
    assert place_in_field(2 * 1.05 + 0.25, 1.0) == (pytest.approx(0.25), 1.0)
    assert place_in_field(1.02, 0.5) is None and place_in_field(0.5, 1.1) is None and place_in_field(-0.1, 0.5) is None


def test_a_film_is_recorded_without_a_display(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with Session(ToyTruth(packings=1, grid=32), toy_models()) as session:
        film = window.run_window(session, record=tmp_path / "film.mp4", seconds=0.5)
        assert session.frames == 8
    assert film == window.Film(tmp_path / "film.mp4", frames=8, seconds=0.5)
    assert str(film) == f"{tmp_path / 'film.mp4'}: 8 frames, 0.5 s"
    reader = imageio.get_reader(tmp_path / "film.mp4")
    pictures = [picture.astype(int) for picture in reader]
    assert len(pictures) == 8 and pictures[0].shape == (740, 1320, 3)
    # The toy's pulse begins at (0.3, 0.35), in truth and forecast, and the error is nothing yet.
    for k, is_there in ((0, True), (1, True), (2, False)):
        reddest = coloured(field(pictures[0], k))
        assert (reddest.max() > 80) == is_there
        if is_there:
            rows, columns = np.nonzero(reddest > 80)
            assert abs(columns.mean() / SIDE - 0.3) < 0.03 and abs(1 - rows.mean() / SIDE - 0.35) < 0.03
    assert np.abs(field(pictures[7], 0) - field(pictures[0], 0)).mean() > 2


def test_a_film_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(WavesimError, match=rf"there is no folder {tmp_path / 'none'} for film\.mp4"):
        window.run_window(None, record=tmp_path / "none" / "film.mp4")  # before the session is asked for anything
    assert not list(tmp_path.iterdir())


def test_milliseconds_are_shown_with_what_they_are_of_once_they_are_measured():
    with Session(ToyTruth(packings=1, grid=16), toy_models()) as session:
        session.settle()
        assert numbers(session, 16.0).splitlines()[4:7] == ["- (leapfrog)", "- (leapfrog)", "16 frames a second"]
        session.advance()
        forecast, truth = numbers(session, 16.0).splitlines()[4:6]
        assert truth == "1.0 ms a frame (leapfrog)" and forecast.endswith(" ms a frame (leapfrog)")


def test_nothing_is_named_before_it_is_known_which_truth_it_is():
    import pyvista

    class Slow(ToyTruth):
        label, may_start = "toy, live", threading.Event()

        def start(self, index):
            self.may_start.wait(30)
            raise WavesimError("there is no toy")

    plotter = pyvista.Plotter(off_screen=True)
    with Session(Slow(packings=1, grid=16), toy_models(), fallback=ToyTruth(packings=1, grid=16)) as session:
        scene = Scene(plotter, session)
        scene.draw(0.0)
        assert [text.GetInput() for text in scene._titles] == [" "] * 3
        assert numbers(session, 0.0).splitlines()[4:] == ["-", "-", "-", "preparing"]
        Slow.may_start.set()
        session.settle()
        scene.draw(0.0)
        assert [text.GetInput() for text in scene._titles] == ["toy solver", "classical", "error"]
        assert "there is no toy" in scene._message.GetInput()
    plotter.close()


class ScaledForecaster(ToyForecaster):
    """The toy wave times a factor that can be set."""

    factor = 1.002

    def step(self, s):
        return replace(s, state=self.factor * step_wave(s.state, s.medium))


def test_the_error_is_magnified_as_it_fits_and_its_title_says_so():
    import pyvista

    plotter, forecaster = pyvista.Plotter(off_screen=True), ScaledForecaster(0.0)
    with Session(ToyTruth(packings=1, grid=32), {"scaled": forecaster, "other": ScaledForecaster(0.0)}) as session:
        scene = Scene(plotter, session)

        def title():
            scene.draw(16.0)
            return scene._titles[2].GetInput()

        session.settle()
        assert title() == "error"
        session.advance()
        assert title() == "error x 50"
        forecaster.__class__.factor = 1.1
        session.advance(), session.advance()
        lower = title()
        assert lower in ("error x 5", "error x 2", "error")
        forecaster.__class__.factor = 1.0
        session.advance()
        assert title() == lower  # never up again
        for expected in ("error", "error x 2", "error x 5", "error x 10"):
            scene.magnify()
            assert title() == expected
        scene.magnify(), scene.magnify(), scene.magnify()
        assert title() == lower
        session.switch_model("other")
        session.settle()
        assert title() == "error"
    plotter.close()


def test_without_a_display_the_window_says_what_to_do(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with Session(ToyTruth(packings=1, grid=16), toy_models()) as session:
        with pytest.raises(WavesimError, match=r"no display .* --record out\.mp4"):
            window.run_window(session)


def test_a_display_that_does_not_answer_is_none(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":8734")
    assert not window.display_available()


def test_without_opengl_the_recorder_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(window, "offscreen_available", lambda: False)
    with Session(ToyTruth(packings=1, grid=16), toy_models()) as session:
        with pytest.raises(WavesimError, match="no OpenGL"):
            window.run_window(session, record=tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())
