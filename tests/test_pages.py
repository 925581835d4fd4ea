"""The pages show the tables that scripts wrote, and the scripts still run."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_pages_show_the_tables_that_scripts_have_written() -> None:
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "benchmarks" / "docs_tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for page in tables.pages():
        assert page.read_text() == tables.filled(page), f"{page.name} is older than its tables: run docs_tables.py"
    assert "Fresnel" in (ROOT / "docs" / "truth.md").read_text()


def test_the_cost_of_packings_can_be_measured_anew() -> None:
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    script = [sys.executable, str(ROOT / "benchmarks" / "packing_cost.py"), "--quick"]
    table = subprocess.run(script, check=True, capture_output=True, text=True, timeout=300).stdout
    assert "| conforming | " in table and "| raster | 24 x 24 | 4 |" in table and "nan" not in table


def test_the_effect_of_the_choice_of_contacts_can_be_measured_anew() -> None:
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    script = [sys.executable, str(ROOT / "benchmarks" / "packing_choice.py"), "--quick"]
    table = subprocess.run(script, check=True, capture_output=True, text=True, timeout=300).stdout
    assert "| 0.95, necks of 0.4 radii | " in table and "nan" not in table


def test_the_table_of_the_proofs_can_be_made_anew(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "proofs.py"), "--quick", "--out", str(tmp_path / "p.md")]
    subprocess.run(script, check=True, capture_output=True, timeout=300)
    table = (tmp_path / "p.md").read_text()
    assert "| (4, 1) |" in table and "nan" not in table


def test_speeds_can_be_measured_anew(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "fem.py"), "--quick", "--out", str(tmp_path / "fem.md")]
    subprocess.run(script, check=True, capture_output=True, timeout=300)
    table = (tmp_path / "fem.md").read_text()
    assert "| ours, single | " in table and "The shares differ by a factor of " in table and "nan" not in table


def test_wave_speeds_of_granular_matter_can_be_measured_anew(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "wave_speeds.py"), "--quick", "--out", str(tmp_path / "s.md")]
    subprocess.run(script, check=True, capture_output=True, timeout=300)
    table = (tmp_path / "s.md").read_text()
    assert "| 20 | 5 | 21 |" in table and "| 0.25 |" in table and "nan" not in table


def test_the_times_of_a_training_step_can_be_measured_anew(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "training_step.py"), "--quick", "--out", str(tmp_path / "t.md")]
    subprocess.run(script, check=True, capture_output=True, timeout=300)
    table = (tmp_path / "t.md").read_text()
    assert "| 16 | 5 | 8 | 19.0 |" in table and "| 16 x 16 |" in table and "nan" not in table


def test_the_table_of_the_layers_can_be_made_anew(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "layers.py"), "--quick", "--out", str(tmp_path / "layers.md")]
    subprocess.run(script, check=True, capture_output=True, timeout=300)
    table = (tmp_path / "layers.md").read_text()
    assert "| cp | 152 | 0.01 |" in table and "| cp, lambda explicit | " in table and "nan" not in table
