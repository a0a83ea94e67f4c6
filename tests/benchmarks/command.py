"""What the commands have in common: their options, and a load in C."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def options(prog: str, about: str | None, rounds: int) -> argparse.Namespace:
    """`rounds`, and `out`: a path or None."""
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, help="a Markdown page; a plot goes beside it")
    return parser.parse_args()


@contextlib.contextmanager
def compiled(source: str) -> Iterator[Path]:
    """A program, made of this file beside us. Where that fails the command ends with 3."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "load"
        command = ["cc", "-O2", "-o", str(binary), str(Path(__file__).with_name(source))]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"the load is written in C and needs a compiler: {error}")
            raise SystemExit(3) from error
        yield binary


def say(text: str) -> None:
    """Tell who waits."""
    sys.stderr.write(f"{text}\n")
