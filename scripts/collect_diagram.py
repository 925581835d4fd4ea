"""Gather the means of jamming sweeps into one small file that `fem.read_diagram` reads.

python scripts/collect_diagram.py benchmarks/results/jamming data/diagram.json
"""

import json
import sys
from pathlib import Path

MEANS = ("bulk_modulus", "shear_modulus", "phi_j")
KEPT = ("dim", "size_ratio", "small_fraction", "particles", "packings")

source, target = map(Path, sys.argv[1:])
rows = []
for path in sorted(source.glob("*/diagram.json")):
    sweep = json.loads(path.read_text())
    for row in sweep["rows"]:
        if row["packings"]:
            spread = {f"{name}_deviation": row.get(f"{name}_deviation") for name in MEANS}
            measured = {key: None if value is None else float(f"{value:.5g}") for key, value in
                        ({name: row.get(name) for name in MEANS} | spread).items()}  # fmt: skip
            rows.append({key: row[key] for key in KEPT} | {"pressure": sweep["protocol"]["pressure"]} | measured)
rows.sort(key=lambda row: (row["dim"], row["size_ratio"], row["small_fraction"]))
about = {"command": f"python scripts/collect_diagram.py {source} {target}", "units": "large diameter 1, k_n 1"}
lines = ",\n".join(json.dumps(row) for row in rows)
target.write_text(f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n')
