"""The reports in a real browser: headless Chromium, told what to do over the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/ lists the commands.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from certify_examples import case, cell, failing, judged, matrix, recovered, scenario, storm
from load_examples import result
from squall.certify.cell_page import Evidence, cell_page
from squall.certify.matrix import Cell, Column
from squall.certify.site import write_site
from squall.history import History
from squall.load import report as storm_report
from squall.manifest import KnownFailure
from squall.scenario import Covers
from squall.verdict import Outcome

TIMEOUT = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

PHONE, DESK = 390, 1280
A4_LANDSCAPE = 1047  # 297 mm without the margins, at 96 pixels an inch
DARK = [{"name": "prefers-color-scheme", "value": "dark"}]


class Browser:
    """The browser's end of the wire, and everything that went wrong in its pages."""

    def __init__(self, wire: ClientConnection) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def do(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        said = {"id": number, "method": method, "params": params}
        self._wire.send(json.dumps(said | ({"sessionId": session} if session else {})))
        while (heard := self.hear()).get("id") != number:
            pass
        assert "error" not in heard, (method, heard)
        found: dict[str, Any] = heard["result"]
        return found

    def hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self._wire.recv(TIMEOUT))
        if "method" in heard:
            self.events.append(heard)
        return heard

    @property
    def troubles(self) -> list[str]:
        bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed")
        return [
            str(event["params"])
            for event in self.events
            if event["method"] in bad
            or (
                event["method"] == "Runtime.consoleAPICalled"
                and event["params"]["type"] in ("error", "warning")
            )
        ]


class Tab:
    """A tab, and what a reader does in it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._target = browser.do("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.do("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def close(self) -> None:
        self._browser.do("Target.closeTarget", targetId=self._target)

    def do(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.do(method, self._session, **params)

    def open(self, address: str) -> None:
        seen = len(self._browser.events)
        self.do("Page.navigate", url=address)
        self.loaded(seen)

    def loaded(self, since: int) -> None:
        while not any(
            event["method"] == "Page.loadEventFired" for event in self._browser.events[since:]
        ):
            self._browser.hear()

    def press(self, key: str, *, leaves: bool = False) -> None:
        """Press a key; one that leaves the page is followed by the next page's end of loading."""
        seen = len(self._browser.events)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else None)
        code = {"Enter": 13, "Escape": 27}.get(key, 0)
        same: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code}
        typed = {"text": text} if text else {}
        self.do("Input.dispatchKeyEvent", type="keyDown", **same, **typed)
        self.do("Input.dispatchKeyEvent", type="keyUp", **same)
        if leaves:
            self.loaded(seen)

    def type(self, text: str) -> None:
        self.do("Input.insertText", text=text)

    def ask(self, script: str) -> Any:
        said = self.do("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def size(self, width: int) -> None:
        same = {"width": width, "height": 800, "deviceScaleFactor": 1}
        self.do("Emulation.setDeviceMetricsOverride", **same, mobile=width == PHONE)

    def prefer(self, scheme: str) -> None:
        wish = {"name": "prefers-color-scheme", "value": scheme}
        self.do("Emulation.setEmulatedMedia", features=[wish])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("profile")
    assert BROWSER is not None
    with subprocess.Popen(
        [BROWSER, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        address = next(each for each in process.stderr if "DevTools listening on" in each)
        # What it complains about later must not fill the pipe and stop it.
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        try:
            with connect(address.split()[-1], proxy=None, max_size=None) as wire:
                yield Browser(wire)
        finally:
            process.kill()
            reader.join(TIMEOUT)


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    browser.events.clear()
    tab = Tab(browser)
    tab.size(DESK)
    yield tab
    tab.close()
    assert browser.troubles == []


# -- a report with something of everything -------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("report")
    adapters = [Column(f"adapter-{n}", f"adapter-{n}", f"{n}.0") for n in range(12)]
    names = {"reset": "A-02", "half-open": "B-01", "herd": "D-04", "restore-all": "F-01"}
    known = KnownFailure(reason="not yet", link="https://example.org/7")
    runs = [
        case(),
        failing("no_storm", "data_resumes"),
        case(Outcome.UNKNOWN, judged=(judged("exercised", Outcome.UNKNOWN, "never steady"),)),
        failing("spread", known=known),
        case(Outcome.UNSUPPORTED, judged=()),
    ]
    cells: list[Cell] = []
    for column in adapters:
        for name, row in names.items():
            of = scenario(name, covers=Covers((row,), (2,), ("https://example.org/bugs/1",)))
            run = runs[(len(cells) * 7) % 11 % len(runs)]
            cells.append(cell(run, run, column=column, of=of))
            history = storm(300) if name == "herd" else recovered()
            write_page(root, cells[-1], history)
    write_site(matrix(*cells), root)
    (root / STORM).write_text(storm_report.page(result()), encoding="utf-8")
    return root.as_uri()


def write_page(root: Path, cell: Cell, history: History) -> None:
    dial = history.of("dialled")[0]
    shown = [judged("no_storm", Outcome.FAIL, "dialled twice", dial), *cell.case.judged]
    evidence = Evidence(history, ["a line", "of its log"], {"history.jsonl.gz": ""})
    folder = root / cell.column.key / cell.scenario.name
    folder.mkdir(parents=True)
    (folder / "history.jsonl.gz").touch()
    run = replace(cell.case, judged=tuple(shown))
    page = cell_page(Cell(cell.column, cell.scenario, (run, run), cell.classes), evidence)
    (folder / "index.html").write_text(page, encoding="utf-8")


PAGES = ("index.html", "adapter-0/half-open/index.html", "adapter-1/herd/index.html")
STORM = "storm.html"  # of `squall load`

# -- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, STORM])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_page_is_never_wider_than_the_screen(
    tab: Tab, report: str, page: str, width: int
) -> None:
    tab.size(width)
    tab.open(f"{report}/{page}")
    assert tab.ask("document.documentElement.scrollWidth") <= width
    assert tab.ask("document.querySelector('h1').getBoundingClientRect().right") <= width


CUT_OFF = """[...document.querySelectorAll('svg text')].filter((text) => {
  const [box, room] = [text, text.ownerSVGElement].map((e) => e.getBoundingClientRect());
  return box.left < room.left - 1 || box.right > room.right + 1
    || box.top < room.top - 1 || box.bottom > room.bottom + 1;
}).map((text) => text.textContent)"""


@pytest.mark.parametrize("page", [*PAGES[1:], STORM])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_word_in_a_drawing_is_cut_off(tab: Tab, report: str, page: str, width: int) -> None:
    tab.size(width)
    tab.open(f"{report}/{page}")
    assert tab.ask("document.querySelectorAll('svg text').length") > 0
    assert tab.ask(CUT_OFF) == []


@pytest.mark.parametrize(("page", "table"), [("index.html", ".adapters"), (STORM, ".judged")])
def test_on_a_phone_who_did_how_is_read_without_scrolling(
    tab: Tab, report: str, page: str, table: str
) -> None:
    tab.size(PHONE)
    tab.open(f"{report}/{page}")
    assert tab.ask(f"document.querySelector('{table}').getBoundingClientRect().right") <= PHONE
    # Words are not broken to fit: each name has a line of its own, beside its chip or above it.
    lines = f"[...document.querySelectorAll('{table} tbody th')].map((th) => th.clientHeight)"
    assert max(tab.ask(lines)) < 40


# The contrast of every text with what is behind it: https://www.w3.org/TR/WCAG21/#contrast-minimum
CONTRAST = """(() => {
  const parse = (said) => said.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = c.map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const back = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
    return parse(getComputedStyle(document.body).backgroundColor); };
  const low = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest('svg')) continue;
    const [a, b] = [parse(getComputedStyle(e).color), back(e)].map((c) => light(c.slice(0, 3)));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${walk.currentNode.data.trim().slice(0, 40)}`);
  }
  return [...new Set(low)];
})()"""


@pytest.mark.parametrize("page", [*PAGES, STORM])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read_in_light_and_in_dark(
    tab: Tab, report: str, page: str, scheme: str
) -> None:
    tab.prefer(scheme)
    tab.open(f"{report}/{page}")
    assert tab.ask(CONTRAST) == []
    dark = tab.ask("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_header_and_first_column_stay_in_sight(tab: Tab, report: str) -> None:
    tab.size(PHONE)
    tab.open(f"{report}/index.html")
    tab.ask("document.querySelector('.matrix').scrollTo(400, 60)")
    where = (
        "(() => { const box = document.querySelector('.matrix').getBoundingClientRect();"
        "const of = (e) => document.querySelector(e).getBoundingClientRect();"
        "return [of('.matrix thead th').left - box.left, of('.matrix thead th').top - box.top,"
        "of('.matrix th[scope=row]').left - box.left]; })()"
    )
    assert all(abs(distance) < 2 for distance in tab.ask(where))


@pytest.mark.parametrize("page", [*PAGES, STORM])
def test_a_page_is_printed_on_white_paper_whatever_the_screen_looks_like(
    tab: Tab, report: str, page: str
) -> None:
    tab.prefer("dark")
    tab.open(f"{report}/{page}")
    tab.do("Emulation.setEmulatedMedia", media="print", features=DARK)
    assert tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.ask(CONTRAST) == []
    up = "[...document.querySelectorAll('.up')].map((e) => getComputedStyle(e).display)"
    assert tab.ask(up) == ([] if page == STORM else ["none"])
    paper = {"printBackground": True, "preferCSSPageSize": True}
    assert base64.b64decode(tab.do("Page.printToPDF", **paper)["data"]).startswith(b"%PDF")


def test_on_paper_twelve_adapters_fit_side_by_side(tab: Tab, report: str) -> None:
    tab.size(A4_LANDSCAPE)
    tab.open(f"{report}/index.html")
    tab.do("Emulation.setEmulatedMedia", media="print")
    assert tab.ask("document.querySelector('.matrix table').scrollWidth") <= A4_LANDSCAPE


def test_without_scripts_nothing_is_missing(tab: Tab, report: str) -> None:
    tab.do("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(f"{report}/index.html")
    root = tab.do("DOM.getDocument", depth=-1)["root"]["nodeId"]

    def count(selector: str) -> int:
        return len(tab.do("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"])

    assert count(".matrix td a[href]") == 48
    assert count("#search[hidden]") == 1
    assert count("#keys[hidden]") == 1


FOCUS = "document.activeElement.id"

# -- filtering -----------------------------------------------------------------------------------

SHOWN = (
    "[...document.querySelectorAll('.matrix tbody tr:not(.group)')]"
    ".filter((row) => row.offsetParent)"
    ".map((row) => row.querySelector('th').firstChild.data.trim())"
)
GROUPS = (
    "[...document.querySelectorAll('.matrix .group')]"
    ".filter((row) => row.offsetParent).map((row) => row.textContent)"
)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("half", ["half-open"]),
        ("B-01", ["half-open"]),
        ("HERD", ["herd"]),
        ("guide-2 restore", ["restore-all"]),
        ("no such thing", []),
    ],
)
def test_the_filter_shows_what_has_all_the_words(
    tab: Tab, report: str, words: str, shown: list[str]
) -> None:
    tab.open(f"{report}/index.html")
    tab.press("/")
    tab.type(words)
    assert tab.ask(SHOWN) == shown
    assert tab.ask("document.querySelector('#count').value") == f"{len(shown)} of 4 scenarios"
    assert len(tab.ask(GROUPS)) == len(shown)
    tab.press("Escape")
    assert len(tab.ask(SHOWN)) == 4
    assert tab.ask("document.querySelector('#count').value") == ""


def test_a_word_that_no_scenario_has_chooses_adapters(tab: Tab, report: str) -> None:
    tab.open(f"{report}/index.html")
    tab.press("/")
    tab.type("adapter-3 B-01")
    assert tab.ask(SHOWN) == ["half-open"]
    tab.press("Enter")
    assert tab.ask(FOCUS) == "adapter-3--half-open"
    tab.press("ArrowRight")
    assert tab.ask(FOCUS) == "adapter-3--half-open"


def test_a_word_of_the_legend_filters_by_class(tab: Tab, report: str) -> None:
    tab.open(f"{report}/index.html")
    button = (
        "[...document.querySelectorAll('#legend button')].find((b) => b.textContent == 'storm')"
    )
    having = (
        "[...document.querySelectorAll('.matrix tbody tr:not(.group)')].filter((row) =>"
        "[...row.querySelectorAll('td a')].some((a) => a.firstChild.data == 'storm'))"
        ".map((row) => row.querySelector('th').firstChild.data.trim())"
    )
    expected = tab.ask(having)
    tab.ask(f"{button}.click()")
    assert tab.ask(f"{button}.getAttribute('aria-pressed')") == "true"
    assert tab.ask(SHOWN) == expected
    bright = (
        "[...document.querySelectorAll('.matrix td:not(.dim) a')]"
        ".filter((a) => a.offsetParent).every((a) => a.firstChild.data == 'storm')"
    )
    assert tab.ask(bright)
    tab.ask(f"{button}.click()")
    assert len(tab.ask(SHOWN)) == 4


# -- the keyboard --------------------------------------------------------------------------------


def test_arrows_move_over_the_cells_enter_opens_and_escape_comes_back(
    tab: Tab, report: str
) -> None:
    tab.open(f"{report}/index.html")
    for key, expected in (
        ("ArrowDown", "adapter-0--reset"),
        ("ArrowDown", "adapter-0--half-open"),
        ("ArrowRight", "adapter-1--half-open"),
        ("ArrowUp", "adapter-1--reset"),
        ("ArrowUp", "adapter-1--reset"),
        ("ArrowLeft", "adapter-0--reset"),
        ("ArrowLeft", "adapter-0--reset"),
        ("ArrowDown", "adapter-0--half-open"),
    ):
        tab.press(key)
        assert tab.ask(FOCUS) == expected
    tab.press("Enter", leaves=True)
    assert tab.ask("location.pathname").endswith("/adapter-0/half-open/index.html")
    tab.press("Escape", leaves=True)
    assert tab.ask("location.pathname").endswith("/index.html")
    assert tab.ask("location.hash") == "#adapter-0--half-open"
    assert tab.ask(FOCUS) == "adapter-0--half-open"


def test_arrows_pass_over_what_is_filtered_away(tab: Tab, report: str) -> None:
    tab.open(f"{report}/index.html")
    tab.press("/")
    tab.type("re")
    tab.ask("document.querySelector('#filter').value = 'A-02'")
    tab.ask("document.querySelector('#filter').dispatchEvent(new Event('input'))")
    tab.press("Enter")
    assert tab.ask(FOCUS) == "adapter-0--reset"
    tab.press("ArrowDown")
    assert tab.ask(FOCUS) == "adapter-0--reset"


def test_one_cell_takes_part_in_the_order_of_the_tab_key(tab: Tab, report: str) -> None:
    tab.open(f"{report}/index.html")
    assert tab.ask("document.querySelectorAll('.matrix a[tabindex=\"0\"]').length") == 1


# -- the page of a cell --------------------------------------------------------------------------


def test_evidence_leads_to_its_row_in_the_log(tab: Tab, report: str) -> None:
    tab.open(f"{report}/adapter-0/half-open/index.html")
    tab.ask("document.querySelector('.evidence a').click()")
    row = "document.querySelector('tr:target')"
    assert "dialled" in tab.ask(f"{row}.textContent")
    top = tab.ask(f"{row}.getBoundingClientRect().top")
    assert 0 <= top < 800


def test_all_links_of_a_page_resolve(tab: Tab, report: str) -> None:
    root = Path(report.removeprefix("file://"))
    for page in PAGES:
        tab.open(f"{report}/{page}")
        links = tab.ask("[...document.querySelectorAll('a')].map((a) => a.href)")
        for link in links:
            if link.startswith("file://"):
                path = Path(link.removeprefix("file://").partition("#")[0])
                assert path.is_relative_to(root), link
                assert path.exists(), link
            else:
                assert link.startswith("https://example.org/")
