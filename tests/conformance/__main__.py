"""Run every probe on every line that can be had here, and write docs/fidelity.md."""

from __future__ import annotations

import argparse
import asyncio
import platform
from datetime import date
from pathlib import Path

from conformance.line import LINES
from conformance.table import Cell, measure, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fidelity.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--write", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("--only", action="append", choices=tuple(LINES), help="may be repeated")
    options = parser.parse_args()
    columns: dict[str, dict[str, Cell] | str] = {}
    for name, way in LINES.items():
        if options.only and name not in options.only:
            continue
        columns[name] = way.missing or asyncio.run(measure(way))
    when = f"Last: {date.today()}, {platform.system()}, Python {platform.python_version()}."
    options.write.write_text(page(columns, when), encoding="utf-8")
    print(options.write.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
