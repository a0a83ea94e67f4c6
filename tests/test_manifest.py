"""manifest.py: what a file, or a bare command, says of an adapter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenario_examples import BAD_MANIFESTS, GOOD_MANIFESTS, MANIFEST, Bad
from squall.errors import AdapterError
from squall.manifest import KnownFailure, Manifest


def write(folder: Path, text: str) -> Path:
    path = folder / "adapter.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(path: Path) -> list[str]:
    try:
        Manifest.load(path)
    except AdapterError as error:
        return str(error).split("\n")
    return []


def test_every_key_of_a_manifest_arrives_in_its_value(tmp_path: Path) -> None:
    manifest = Manifest.load(write(tmp_path, MANIFEST))
    assert manifest == Manifest(
        name="my-adapter",
        command=("python", "my_adapter.py", "--port", "80"),
        url_env="DERIBIT_WS_URL",
        env={"LOG_LEVEL": "debug", "WORKERS": "4", "DEBUG": "true"},
        settings={"backoff_max": 60, "venues": ["a", "b"]},
        supports=("public", "private", "subscribe", "unsubscribe", "request", "health"),
        channels=("btcusdt@trade",),
        connections=2,
        redirect="http-proxy",
        expect={
            "half-open": KnownFailure(
                reason="It has no deadline for silence.",
                link="https://github.com/ccxt/ccxt/issues/20946",
            )
        },
        grace=2.0,
    )
    assert manifest.folder == tmp_path
    assert manifest.declared


@pytest.mark.parametrize("name", GOOD_MANIFESTS)
def test_a_short_manifest_is_enough(tmp_path: Path, name: str) -> None:
    manifest = Manifest.load(str(write(tmp_path, GOOD_MANIFESTS[name])))
    assert (manifest.command is None) == (name == "object")


def test_a_bare_command_is_an_adapter_too() -> None:
    manifest = Manifest.of_command(["python", "-u", "venues/my_adapter.py", "--port", "80"])
    assert manifest.name == "my_adapter"
    assert manifest.command == ("python", "-u", "venues/my_adapter.py", "--port", "80")
    assert manifest.folder is None
    assert not manifest.declared
    assert Manifest.of_command(["./adapter"]).name == "adapter"
    with pytest.raises(AdapterError, match="command is empty"):
        Manifest.of_command([])


@pytest.mark.parametrize("bad", BAD_MANIFESTS, ids=lambda bad: f"{bad.old}-{bad.new}")
def test_a_mistake_is_reported_with_its_place_and_the_right_word(tmp_path: Path, bad: Bad) -> None:
    path = write(tmp_path, bad.of(MANIFEST))
    assert mistakes(path)[0].startswith(f"{path}:{bad.said}")


def test_a_known_failure_needs_its_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\ncommand: [a]\nexpect: {half-open: fail}\n")
    assert mistakes(path) == [
        f"{path}:3:21: say why half-open is expected to fail: "
        "{outcome: fail, reason: what it does wrong, link: where it is reported}"
    ]


def test_who_has_no_tls_cannot_be_led_by_an_http_proxy(tmp_path: Path) -> None:
    text = "name: a\ncommand: [a]\ntls: false\n"
    assert not Manifest.load(write(tmp_path, text)).tls
    path = write(tmp_path, text + "redirect: http-proxy\n")
    (mistake,) = mistakes(path)
    assert mistake.endswith("redirect: an HTTP proxy leads to wss://, so it needs tls: true")


def test_an_empty_manifest_says_what_one_needs(tmp_path: Path) -> None:
    path = write(tmp_path, "# later\n")
    assert mistakes(path) == [
        f"{path}:1:1: is empty; a manifest needs at least name, and command or object"
    ]


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "none.yaml") == [f"{tmp_path / 'none.yaml'}: there is no such file"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, len(MANIFEST)), st.integers(0, 9), st.text(max_size=4))
def test_whatever_is_wrong_its_place_is_told(
    tmp_path_factory: pytest.TempPathFactory, begin: int, length: int, new: str
) -> None:
    changed = MANIFEST[:begin] + new + MANIFEST[begin + length :]
    path = write(tmp_path_factory.getbasetemp(), changed.encode("utf-8", "replace").decode())
    for line in mistakes(path):
        assert re.match(r"[^:\n]+:\d+:\d+: \S", line)
