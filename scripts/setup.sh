#!/usr/bin/env bash
# Sets wavesim up; does nothing, in about a second, where that is done already. Called by the Makefile.
#
#   1. An active environment (conda, venv) in which `import dolfinx` works is used as it is.
#   2. Otherwise dolfinx comes from the distribution (apt), and .venv is made with the system's interpreter and its
#      site packages, because dolfinx is not on the package index.
#
# Prints the interpreter to use as its last line of standard output; everything else goes to standard error.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }

# python3-dev and the compilers: dolfinx compiles its forms when they are first used. GL, EGL, X: pyvista's windows.
# GLU: gmsh. xvfb: a screen for the window's tests; xdotool clicks in it.
apt_packages=(python3-dolfinx python3-venv python3-dev gcc g++ git
  libgl1 libegl1 libgl1-mesa-dri libglx-mesa0 libxrender1 libxext6 libsm6 libxcursor1 libxft2 libxinerama1
  libglu1-mesa xvfb xauth xdotool)

has_dolfinx() { "$1" -c 'import dolfinx' >/dev/null 2>&1; }

install_from_apt() {
  local missing=() package run=()
  for package in "${apt_packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "set-up: these packages are missing, and neither root nor sudo is at hand." \
      "Have them installed, then call make again: ${missing[*]}"; exit 2; }
    run=(sudo)
  fi
  say "set-up: installing ${missing[*]} with apt"
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends \
    "${missing[@]}" >/dev/null
}

active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
if [ -n "$active" ] && [ "$active" != "$PWD/.venv" ] && has_dolfinx "$active/bin/python"; then
  python=$active/bin/python
else
  if command -v apt-get >/dev/null; then
    install_from_apt
  elif ! has_dolfinx /usr/bin/python3; then
    say "set-up: dolfinx is not installed, and this system has no apt-get to install it with. Either" \
      "make the conda environment (conda env create -f environment.yml && conda activate wavesim) and call make again," \
      "or install FEniCSx (python3-dolfinx) from your distribution. Without dolfinx and LAMMPS, 'pip install .' gives" \
      "reading, training, pruning, evaluating and watching recorded data."
    exit 2
  fi
  has_dolfinx /usr/bin/python3 || { say "set-up: python3-dolfinx is installed, but 'import dolfinx' fails under" \
    "/usr/bin/python3:"; /usr/bin/python3 -c 'import dolfinx' >&2 || exit 2; }
  [ -x .venv/bin/python ] || { say "set-up: making .venv"; /usr/bin/python3 -m venv --system-site-packages .venv; }
  python=$PWD/.venv/bin/python
fi

stamp=$("$python" -c 'import sys; print(sys.prefix)')/.wavesim-set-up
wanted=$(cat pyproject.toml constraints/*.txt scripts/setup.sh | sha256sum; pwd)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  constraints=()
  "$python" - <<'PY' || constraints+=(--constraint constraints/old-dolfinx.txt)
import re, sys
from importlib.metadata import version
sys.exit(0 if tuple(map(int, re.findall(r"\d+", version("fenics-dolfinx"))[:2])) >= (0, 9) else 1)
PY
  "$python" -c 'import torch' 2>/dev/null || constraints+=(--constraint constraints/torch.txt)
  say "set-up: installing wavesim and what it needs into $("$python" -c 'import sys; print(sys.prefix)') (minutes the first time)"
  "$python" -m pip install --quiet --editable '.[granular,dev]' "${constraints[@]}" >&2
  "$python" -c 'import h5py, dolfinx, torch, wavesim' >&2
  printf '%s' "$wanted" > "$stamp"
fi
printf '%s\n' "$python"
