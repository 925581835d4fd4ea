"""Put the tables that scripts wrote under benchmarks/results/ into the pages that show them.

A page names a table by `<!-- results: NAME -->`; what follows, up to `<!-- end of results -->`, is NAME.md.

    python benchmarks/docs_tables.py
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- results: ([\w/]+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def filled(page: Path) -> str:
    """The page's text with its tables as they are now."""

    def block(found: re.Match[str]) -> str:
        table = (ROOT / "benchmarks" / "results" / f"{found[2]}.md").read_text()
        if table.startswith("# "):  # the page has a title of its own, and the table's parts are parts of a part
            table = re.sub("^#", "##", table.split("\n", 1)[1], flags=re.MULTILINE)
        return f"{found[1]}\n{table.strip()}\n\n{found[3]}"

    return BLOCK.sub(block, page.read_text())


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page))
