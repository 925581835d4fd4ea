"""Put a demo run's table, verdict and stage times into the README, and its picture beside: RUN as the only argument.

python benchmarks/readme_table.py runs/demo
"""

import json
import os
import platform
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from wavesim.demo import STAGES
from wavesim.report import summary
from wavesim.surrogate.checkpoint import read_header

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- demo table", "<!-- end of demo table -->"


def main(run: Path) -> None:
    """Rewrite the part of README.md between its two marks, and keep the results under benchmarks/results/."""
    stages = json.loads((run / "stages.json").read_text())
    seconds = ", ".join(f"{name} {stages[name]:.0f} s" for name in STAGES)
    made = datetime.fromtimestamp((run / "results.json").stat().st_mtime, UTC).date()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one thread a process"
    revision = read_header(run / "models" / "compressed.safetensors")["about"]["revision"]
    together = f"{seconds}; together {sum(stages.values()):.0f} s ({machine}, revision {revision}, {made})."
    table = f"{summary(run)}\n\n{together}\n"
    readme = ROOT / "README.md"
    lines = readme.read_text().split("\n")
    begin = next(i for i, line in enumerate(lines) if line.startswith(BEGIN))
    end = lines.index(END)
    readme.write_text("\n".join([*lines[: begin + 1], "", *table.strip().split("\n"), "", *lines[end:]]))
    (ROOT / "benchmarks" / "results" / "demo.md").write_text(table)
    shutil.copy(run / "results.json", ROOT / "benchmarks" / "results" / "demo.json")
    (ROOT / "docs" / "pictures").mkdir(exist_ok=True)
    for name in ("fields", "pareto"):
        shutil.copy(run / f"{name}.png", ROOT / "docs" / "pictures" / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
