"""Gather the means of jamming sweeps into one small file that `fem.read_diagram` reads.

python scripts/collect_diagram.py benchmarks/results/jamming data/diagram.json
"""

import json
import sys
from pathlib import Path

MEANS = ("bulk_modulus", "shear_modulus", "phi_j", "phi_j2", "bulk_modulus_2", "carrying_small", "coordination")
KEPT = ("dim", "size_ratio", "small_fraction", "particles", "packings")

source, target = map(Path, sys.argv[1:])
rows = []
for path in sorted(source.glob("*/diagram.json")):
    if path.parent.name.endswith(("-above", "-below")) or "-half-" in path.parent.name:  # beside another sweep
        continue
    for row in json.loads(path.read_text())["rows"]:
        if row["packings"]:
            measured = {key: row.get(key) for name in MEANS for key in (name, f"{name}_deviation")}
            measured = {key: float(f"{value:.5g}") for key, value in measured.items() if value is not None}
            rows.append({key: row[key] for key in KEPT} | {"pressure": float(f"{row['pressure']:.2g}")} | measured)
rows.sort(key=lambda row: (row["dim"], row["size_ratio"], row["small_fraction"]))
about = {
    "command": f"python scripts/collect_diagram.py {source} {target}",
    "sweeps": "OMP_NUM_THREADS=1 python benchmarks/jamming.py",
    "units": "large diameter 1, k_n 1",
}
lines = ",\n".join(json.dumps(row) for row in rows)
target.write_text(f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n')
