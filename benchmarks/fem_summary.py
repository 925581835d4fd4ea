"""What a reader wants to know first of benchmarks/results/fem.md: writes fem_summary.md beside it, for the README.

python benchmarks/fem_summary.py
"""

from pathlib import Path

RESULTS = Path(__file__).with_name("results")


def part(text: str, heading: str) -> str:
    """From a heading to the next of its rank."""
    level = heading.split(" ")[0]
    return text.split(f"{heading}\n")[1].split(f"\n{level} ")[0]


def cell(text: str, row: str, column: int) -> str:
    """Of the table whose rows begin so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
    return line.strip("| ").split(" | ")[column].split(" (")[0]


def ratio(table: str, error: str) -> str:
    """Of the better peer's time to ours, or who alone gets there."""
    ours, *peers = (cell(table, error, column) for column in (1, 2, 3))
    reached = [value for value in peers if value != "-"]
    if ours == "-":
        return "peers alone" if reached else "nobody"
    return cell(table, error, 4) if reached else "ours alone"


def summary(text: str) -> str:
    """The few rows."""
    rows = [
        "| steps, 128 x 128 points, one thread | over implicit Newmark in dolfinx | over deepwave |",
        "|---|---|---|",
    ]
    for degree in (1, 4):
        of_degree = part(text, f"## 128 x 128, degree {degree}")
        for name, batch in (("single", 1), ("batch of 32", 32)):
            peer = part(text, "## 128 x 128, degree 4").split(f"| 128 x 128, batch of {batch} |")[1]
            times = (cell(of_degree, f"ours, {name}", 3), cell(peer, f"ours, degree {degree}", 3))
            rows.append(f"| degree {degree}, {name} | {float(times[0]):,.0f} | {times[1]} |")
    errors = ("0.1", "0.01", "0.001")
    rows += [
        "",
        "| the better of deepwave and devito, over ours, to an error of | 10 % | 1 % | 0.1 % |",
        "|---|---|---|---|",
    ]
    for case in ("smooth", "circle", "packing", "blended"):
        table = part(text, f"### {case}")
        rows.append(f"| {case} | " + " | ".join(ratio(table, error) for error in errors) + " |")
    return "\n".join(rows) + "\n"


def write() -> None:
    (RESULTS / "fem_summary.md").write_text(summary((RESULTS / "fem.md").read_text()))


if __name__ == "__main__":
    write()
