"""The live window: truth, forecast and error as they run, with mouse and keys; and the same picture as a film.

A repeating timer asks the session whether something has arrived and draws it if so. Nothing here waits for the truth,
so that the window answers the mouse while the FE solver works in its own process.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavesim.errors import WavesimError
from wavesim.provenance import whole_file
from wavesim.viz.animation import film_path, open_film
from wavesim.viz.scene import SIZE, Scene
from wavesim.viz.session import Session

TICK = 5  # milliseconds between two looks for something new
PACE = 24.0  # frames a second at most: faster than this, a wave is through before one has seen it
FILM_RATE = 16  # frames a second of a film
FILM_SECONDS = 10.0
HOLD = 1.5  # seconds that the end of a record stays before the next packing follows


@dataclass(frozen=True)
class Film:
    """What was recorded: its file, pictures and length in seconds."""

    path: Path
    frames: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.path}: {self.frames} frames, {self.seconds:.1f} s"


def display_available() -> bool:
    """Whether a window can be opened here. On Linux that takes an X server that answers."""
    if not sys.platform.startswith("linux"):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return False
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if display:
        x11.XCloseDisplay(ctypes.c_void_p(display))
    return bool(display)


def offscreen_available() -> bool:
    """Whether a picture can be rendered without a window: tried in a process of its own, since a failure may abort."""
    attempt = (
        "import vtkmodules.vtkRenderingOpenGL2, sys; from vtkmodules.vtkRenderingCore import vtkRenderWindow;"
        "w = vtkRenderWindow(); w.OffScreenRenderingOn(); w.SetSize(16, 16); w.Render();"
        "sys.exit(0 if w.SupportsOpenGL() else 1)"
    )
    try:
        return subprocess.run([sys.executable, "-c", attempt], capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def run_window(session: Session, record: Path | None = None, seconds: float | None = None) -> Film | None:
    """Open the live window and return when it is closed; or, given `record`, write a film without any window.

    Args:
        record: an .mp4 or .gif to write instead; seconds: how long to run (a film: 10 by default).
    Returns:
        the film, None after a window.
    Raises:
        WavesimError: no display for the window, no means to render a film, a film of another suffix or in a folder
            that is not there, or what the session raises.
    """
    if record is not None:
        record = film_path(record)
        if not record.parent.is_dir():
            raise WavesimError(f"there is no folder {record.parent} for {record.name}; make it, or record elsewhere")
        if not offscreen_available():
            raise WavesimError(
                "no OpenGL to render a film with; install libegl1 and libgl1-mesa-dri, or run under `xvfb-run -a`"
            )
        return _film(session, record, FILM_SECONDS if seconds is None else seconds)
    if not display_available():
        raise WavesimError("no display for a live window; use --record out.mp4 to write a film, or `xvfb-run -a`")
    _Window(session, seconds).run()
    return None


def _plotter(off_screen: bool) -> Any:
    import pyvista

    return pyvista.Plotter(off_screen=off_screen, window_size=list(SIZE), title="wavesim")


def _film(session: Session, path: Path, seconds: float) -> Film:
    """The same picture at every frame of the session, in the film's own time."""
    from vtkmodules.vtkCommonCore import vtkLogger

    # Without a display VTK warns that there is none before it takes EGL, which is what is wanted.
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    plotter = _plotter(off_screen=True)
    scene = Scene(plotter, session)
    session.settle()
    plotter.show(auto_close=False, interactive=False)
    frames, held = max(1, round(seconds * FILM_RATE)), 0
    with whole_file(path) as part, open_film(part, FILM_RATE) as writer:
        for _ in range(frames):
            scene.draw(FILM_RATE)
            writer.append_data(plotter.screenshot(return_img=True))
            held = held + 1 if session.ended else 0
            if held > HOLD * FILM_RATE:
                session.switch_packing(session.packing + 1)
                session.settle()
            else:
                session.advance()
    plotter.close()
    return Film(path, frames, frames / FILM_RATE)


class _Window:
    """Events in, drawing out. An error inside an event ends the window and is raised by `run`, not lost in VTK."""

    def __init__(self, session: Session, seconds: float | None):
        from vtkmodules.vtkInteractionStyle import vtkInteractorStyleUser

        self._session = session
        self._plotter = _plotter(off_screen=False)
        self._scene = Scene(self._plotter, session)
        self._interactor = self._plotter.iren.interactor
        # A style without camera of its own: pyvista's would zoom, and turn the scene under the mouse. Its observer of
        # characters takes the place of VTK's, for which 3 is stereo and w wireframe.
        style: Any = vtkInteractorStyleUser()
        style.AddObserver("CharEvent", lambda *_: None)
        self._interactor.SetInteractorStyle(style)
        self._seconds = seconds
        self._shown: deque[float] = deque(maxlen=32)
        self._due = 0.0
        self._ended_at: float | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        self._plotter.show(interactive=False, auto_close=False, interactive_update=True)
        for event, answer in (
            ("TimerEvent", self._tick),
            ("LeftButtonPressEvent", self._click),
            ("KeyPressEvent", self._key),
        ):
            self._interactor.AddObserver(event, self._guarded(answer))
        self._interactor.CreateRepeatingTimer(TICK)
        self._end = time.monotonic() + self._seconds if self._seconds is not None else float("inf")
        self._draw()
        self._interactor.Start()
        self._plotter.close()
        if self._error is not None:
            raise self._error

    def _guarded(self, answer: Any) -> Any:
        def observer(*_: object) -> None:
            try:
                answer()
            except BaseException as error:
                self._error = error
                self._interactor.TerminateApp()

        return observer

    def _tick(self) -> None:
        now = time.monotonic()
        if now > self._end:
            self._interactor.TerminateApp()
            return
        frames = self._session.frames
        changed = self._session.poll(begin=now >= self._due)
        if self._session.frames > frames:
            self._shown.append(now)
            self._due = max(self._due + 1 / PACE, now)
        self._follow_on(now)
        if changed or not self._scene.fits:
            self._draw()

    def _follow_on(self, now: float) -> None:
        """At the end of a record, hold the last picture for a while and go to the next packing."""
        if self._session.state != "ended":
            self._ended_at = None
        elif self._ended_at is None:
            self._ended_at = now
        elif now - self._ended_at > HOLD:
            self._session.switch_packing(self._session.packing + 1)

    def _draw(self) -> None:
        span = self._shown[-1] - self._shown[0] if len(self._shown) > 1 else 0.0
        self._scene.draw((len(self._shown) - 1) / span if span else 0.0)

    def _click(self) -> None:
        place = self._scene.place(*self._interactor.GetEventPosition())
        if place is not None and self._session.ready:
            self._session.drop_pulse(*place)
            self._draw()

    def _key(self) -> None:
        session, key = self._session, self._interactor.GetKeySym().lower()
        names = list(session.models)
        if key == "q":
            self._interactor.TerminateApp()
        elif key == "space":
            session.toggle_pause()
        elif key == "r":
            session.restart()
        elif key in ("n", "right"):
            session.switch_packing(session.packing + 1)
        elif key in ("b", "left"):
            session.switch_packing(session.packing - 1)
        elif key == "e":
            self._scene.magnify()
        elif key.isdigit() and 0 < int(key) <= len(names):
            session.switch_model(names[int(key) - 1])
        else:
            return
        self._draw()
