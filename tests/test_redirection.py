"""redirection.py: the file by which an adapter trusts a run, and what becomes of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from squall.redirection import Trust


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_file_is_there_until_the_run_is_over() -> None:
    trust = Trust()
    trust.publish()
    file = Path(trust.variables["SQUALL_CA_FILE"])
    assert file.read_bytes() == trust.authority.certificate
    trust.withdraw()
    assert not file.exists()


def test_what_a_killed_run_has_left_is_removed_by_the_next_one(folder: Path) -> None:
    left, made_just_now, strange = (
        folder / name for name in ("squall-ca-left.pem", "squall-ca-new.pem", "other.pem")
    )
    left.write_text("a certificate")
    made_just_now.touch()
    strange.write_text("a certificate")
    trust = Trust()
    trust.publish()
    assert not left.exists()
    assert made_just_now.exists()
    assert strange.exists()
    trust.withdraw()


def test_runs_side_by_side_keep_their_files() -> None:
    first, second = Trust(), Trust()
    for trust in (first, second, first):
        trust.publish()
    assert all(Path(trust.variables["SQUALL_CA_FILE"]).exists() for trust in (first, second))
    first.withdraw()
    second.withdraw()
