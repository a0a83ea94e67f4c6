"""What each rule does to messages, without sockets: bytes in, bytes out."""

from __future__ import annotations

import json
import zlib
from random import Random
from typing import Any, Literal

import pytest

from frames_witness import built, parsed, texts
from squall_proxy.deflate import Agreement
from squall_proxy.engine import Cut, End, MessageEngine, Output, Rule, Write
from squall_proxy.faults import (
    FAULTS,
    CorruptMessage,
    CutMessage,
    DelayMessage,
    DropMessage,
    DuplicateMessage,
    EditMessage,
    FragmentMessage,
    HangingClose,
    HoldMessage,
    InjectMessage,
    MalformMessage,
    MessageFault,
    ReorderMessage,
    ReplaceMessage,
    TruncateMessage,
)
from squall_proxy.patterns import Pattern

UP, DOWN = "client_to_server", "server_to_client"
Way = Literal["client_to_server", "server_to_client"]
KEY = b"\x12\x34\x56\x78"


class Line:
    """An engine, and what came out of it."""

    def __init__(self, *faults: MessageFault, agreement: Agreement | None = None) -> None:
        self.bites: list[int] = []
        self.out: dict[str, bytes] = {UP: b"", DOWN: b""}
        self.others: list[Output] = []
        self.engine = MessageEngine(self.bites.append, agreement or Agreement())
        for number, fault in enumerate(faults, 1):
            self._do(self.engine.add(Rule(number, fault, Random(7)), 0.0))

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Write):
                self.out[output.way] += output.data
            else:
                self.others.append(output)

    def down(self, *frames: bytes, now: float = 0.0) -> None:
        self._do(self.engine.feed("server_to_client", b"".join(frames), now))

    def up(self, *frames: bytes, now: float = 0.0) -> None:
        self._do(self.engine.feed("client_to_server", b"".join(frames), now))

    def end(self, way: Way, now: float = 0.0) -> None:
        self._do(self.engine.end(way, now))

    def tick(self, now: float) -> None:
        self._do(self.engine.tick(now))

    def remove(self, number: int, now: float = 0.0) -> None:
        self._do(self.engine.remove(number, now))

    def said(self, way: str = DOWN) -> list[str]:
        """What came out in this direction since the last look."""
        data, self.out[way] = self.out[way], b""
        return texts(data)


def text(*words: str) -> bytes:
    return b"".join(built(word.encode()) for word in words)


def note(**document: Any) -> bytes:
    return built(json.dumps(document).encode())


def ask(**document: Any) -> bytes:
    return built(json.dumps(document).encode(), key=KEY)


def test_a_message_is_lost_and_all_else_passes() -> None:
    line = Line(DropMessage(where={"n": 2}))
    line.down(note(n=1), note(n=2), note(n=3))
    assert line.out[DOWN] == note(n=1) + note(n=3)
    assert line.bites == [1]


def test_nth_every_and_times_count_what_fits() -> None:
    words = [f"{i}" for i in range(1, 10)]
    for fault, lost in (
        (DropMessage(nth=3), {"3"}),
        (DropMessage(every=3), {"3", "6", "9"}),
        (DropMessage(times=2), {"1", "2"}),
        (DropMessage(every=2, times=2), {"2", "4"}),
    ):
        line = Line(fault)
        line.down(text(*words))
        assert set(words) - set(line.said()) == lost, fault


def test_a_rule_counts_over_all_connections() -> None:
    rule, lost = Rule(1, DropMessage(nth=2), Random(1)), []
    for number in (1, 2, 3):
        engine = MessageEngine(lambda _: None)
        engine.add(rule, 0.0)
        if not engine.feed("server_to_client", text("x"), 0.0):
            lost.append(number)
    assert lost == [2]


def test_an_exhausted_rule_looks_at_nothing_any_more() -> None:
    line = Line(DropMessage(times=1))
    assert not line.engine.idle("server_to_client")
    line.down(text("a", "b"))
    assert line.engine.idle("server_to_client")
    assert line.said() == ["b"]


def test_a_rule_that_is_exhausted_elsewhere_looks_at_nothing_here() -> None:
    rule = Rule(1, DropMessage(times=1), Random(1))
    engines = [MessageEngine(lambda _: None) for _ in range(2)]
    for engine in engines:
        engine.add(rule, 0.0)
    engines[0].feed("server_to_client", text("x"), 0.0)
    assert all(engine.idle("server_to_client") for engine in engines)


def test_a_delayed_message_is_overtaken_and_never_early() -> None:
    line = Line(DelayMessage(0.5, contains="late"))
    line.down(text("a", "late", "b"), now=1.0)
    assert line.said() == ["a", "b"]
    assert line.engine.due() == 1.5
    line.tick(1.4999)
    assert line.said() == []
    line.tick(1.5)
    assert line.said() == ["late"]
    assert line.engine.due() is None


def test_jitter_stays_within_its_bounds() -> None:
    line = Line(DelayMessage(0.5, jitter=0.2))
    dues = set()
    for _ in range(50):
        line.down(text("x"))
        due = line.engine.due()
        assert due is not None
        assert 0.3 <= due <= 0.7
        dues.add(due)
    assert len(dues) > 1


def test_a_delayed_message_waits_for_the_end_of_another() -> None:
    line = Line(DelayMessage(0.5, contains="late"))
    line.down(text("late"))
    line.remove(1, 0.1)
    assert line.said() == ["late"]
    line = Line(DelayMessage(0.5, opcode="text"))
    line.down(text("late"))
    line.down(built(b"frag", 2, fin=False))
    line.tick(0.5)
    assert line.out[DOWN] == built(b"frag", 2, fin=False)
    line.down(built(b"ment", 0))
    assert line.said() == ["frag", "ment", "late"]


def test_a_close_frame_overtakes_nothing_that_is_late() -> None:
    line = Line(DelayMessage(0.5))
    line.down(text("late"), built(b"\x03\xe8", 8))
    line.end("server_to_client")
    assert (line.out[DOWN], line.others) == (b"", [])
    line.tick(0.5)
    assert line.out[DOWN] == text("late") + built(b"\x03\xe8", 8)
    assert line.others == [End("server_to_client")]


def test_what_is_held_comes_in_order_when_the_rule_is_removed() -> None:
    line = Line(HoldMessage(contains="held"))
    line.down(text("held 1", "a", "held 2"))
    assert line.said() == ["a"]
    assert line.engine.due() is None
    line.remove(1)
    assert line.said() == ["held 1", "held 2"]
    assert line.engine.idle("server_to_client")


def test_the_end_overtakes_what_is_held() -> None:
    line = Line(HoldMessage(opcode="pong"))
    line.down(built(b"beat", 10), built(b"\x03\xf3", 8))
    line.end("server_to_client")
    line.remove(1)
    assert line.out[DOWN] == built(b"\x03\xf3", 8)
    assert line.others == [End("server_to_client")]


def test_a_message_comes_again() -> None:
    line = Line(DuplicateMessage(copies=2, contains="b"))
    line.down(text("a", "b", "c"))
    assert line.said() == ["a", "b", "b", "b", "c"]
    line = Line(DuplicateMessage(delay=1.0))
    line.down(text("a"))
    assert line.said() == ["a"]
    line.tick(1.0)
    assert line.said() == ["a"]


def test_a_message_changes_places_with_the_next() -> None:
    line = Line(ReorderMessage(nth=2))
    line.down(text("a", "b"), built(b"", 9), text("c", "d"))
    assert line.said() == ["a", "", "c", "b", "d"]
    line = Line(ReorderMessage())
    line.down(text("a", "b", "c", "d", "e"))
    assert line.said() == ["b", "a", "d", "c"]
    line.end("server_to_client")
    assert line.said() == ["e"]


def test_a_swapped_message_comes_behind_all_fragments_of_the_next() -> None:
    line = Line(ReorderMessage(opcode="text"))
    line.down(text("a"), built(b"frag", 2, fin=False))
    line.down(built(b"ment", 0))
    assert line.said() == ["frag", "ment", "a"]


@pytest.mark.parametrize(("leaves", "is_text", "is_json"), [("json", 1, 1), ("text", 1, 0)])
def test_what_is_damaged_stays_what_it_may(leaves: Any, is_text: int, is_json: int) -> None:
    line = Line(CorruptMessage(leaves=leaves))
    for number in range(200):
        sent = {"price": f"{number}.5", "n": [number, -3, 1e5], "s": "né:{x}"}
        line.down(built(json.dumps(sent, ensure_ascii=number % 2 == 0).encode()))
        (got,) = line.said()
        if is_json:
            assert json.loads(got) != sent
        else:
            with pytest.raises(ValueError, match=r"."):
                json.loads(got)


def test_damage_of_bytes_changes_one() -> None:
    line = Line(CorruptMessage(leaves="frame"))
    line.down(text("abcdef"))
    (frame,), _ = parsed(line.out[DOWN])
    assert sum(a != b for a, b in zip(frame.payload, b"abcdef", strict=True)) == 1


def test_nothing_is_damaged_where_there_is_nothing_to_damage() -> None:
    line = Line(CorruptMessage(leaves="json"))
    line.down(text("no digit", ""))
    assert line.said() == ["no digit", ""]
    assert line.bites == []


def test_a_message_is_cut_short_in_a_valid_frame() -> None:
    line = Line(TruncateMessage(keep=3))
    line.down(text("abcdef", "ab"))
    assert line.said() == ["abc", "ab"]
    line = Line(TruncateMessage())
    line.down(text("abcdef"))
    assert line.said() == ["abc"]


def test_a_message_is_replaced_and_masked_anew() -> None:
    line = Line(ReplaceMessage({"a": 1}, direction="both"))
    line.down(text("x"))
    line.up(built(b"y", key=KEY))
    assert line.said() == ['{"a":1}']
    assert line.out[UP] == built(b'{"a":1}', key=KEY)


def test_values_are_edited() -> None:
    line = Line(EditMessage({"params.seq": 9, "new": True}))
    line.down(note(params={"seq": 1}, x=[1.5]), text("no json"))
    edited, other = line.said()
    assert json.loads(edited) == {"params": {"seq": 9}, "x": [1.5], "new": True}
    assert other == "no json"


def test_a_message_that_nobody_sent_comes_at_once() -> None:
    line = Line(InjectMessage("hello", direction="both"))
    assert line.said() == ["hello"]
    (frame,), _ = parsed(line.out[UP])
    assert (frame.payload, frame.masked) == (b"hello", True)
    assert line.bites == [1]
    assert line.engine.idle("server_to_client")


def test_messages_are_injected_beside_those_that_fit() -> None:
    for place, said in (
        ("before", ["a", "new", "b", "c"]),
        ("after", ["a", "b", "new", "c"]),
        ("instead", ["a", "new", "c"]),
    ):
        line = Line(InjectMessage("new", place=place, contains="b"))  # type: ignore[arg-type]
        line.down(text("a", "b", "c"))
        assert line.said() == said


def test_an_injected_reply_goes_back_to_the_sender() -> None:
    fault = InjectMessage(
        {"id": 1, "error": {}}, place="instead", reply=True, direction="client_to_server"
    )
    line = Line(fault)
    line.up(ask(id=1, method="x"))
    assert line.said() == ['{"id":1,"error":{}}']
    assert line.out[UP] == b""


@pytest.mark.parametrize(
    ("frame", "opcode", "payload"),
    [("ping", 9, b"p"), ("pong", 10, b"p"), ("binary", 2, b"p"), ("close", 8, b"\x03\xeer")],
)
def test_any_kind_of_frame_is_injected(frame: Any, opcode: int, payload: bytes) -> None:
    line = Line(InjectMessage("p", frame=frame, code=1006, reason="r"))
    (seen,), _ = parsed(line.out[DOWN])
    assert (seen.opcode, seen.payload, seen.fin) == (opcode, payload, True)


def test_data_is_not_injected_into_a_message_but_control_frames_are() -> None:
    line = Line(DropMessage(opcode="binary"))
    line.down(built(b"frag", fin=False))
    line._do(line.engine.add(Rule(2, InjectMessage("data"), Random(1)), 0.0))
    line._do(line.engine.add(Rule(3, InjectMessage("ping", frame="ping"), Random(1)), 0.0))
    line.down(built(b"ment", 0))
    assert line.said() == ["frag", "ping", "ment", "data"]


def test_nothing_is_injected_into_a_frame() -> None:
    line = Line(DropMessage(opcode="binary"))
    whole = text("a whole frame")
    line.down(whole[:5])
    line._do(line.engine.add(Rule(2, InjectMessage("ping", frame="ping"), Random(1)), 0.0))
    assert line.out[DOWN] == whole[:5]
    line.down(whole[5:] + whole[:4])
    assert line.out[DOWN] == whole + built(b"ping", 9) + whole[:4]


def test_a_ping_that_has_begun_between_fragments_does_not_end_the_message() -> None:
    line = Line()
    line.engine.join("server_to_client", 0, b"\x89", True)
    line._do(line.engine.add(Rule(1, InjectMessage("data"), Random(1)), 0.0))
    line.down(b"\x00")
    assert line.out[DOWN] == b"\x00"
    line.down(built(b"ment", 0))
    assert line.out[DOWN] == b"\x00" + built(b"ment", 0) + text("data")


def test_a_message_comes_in_fragments() -> None:
    line = Line(FragmentMessage(2))
    line.down(text("abcde", "f"))
    frames, _ = parsed(line.out[DOWN])
    assert [(each.opcode, each.fin, each.payload) for each in frames] == [
        (1, False, b"ab"),
        (0, False, b"cd"),
        (0, True, b"e"),
        (1, True, b"f"),
    ]


@pytest.mark.parametrize("way", [UP, DOWN])
def test_malformed_messages_are_malformed_in_the_way_that_they_say(way: Any) -> None:
    def send(kind: Any, data: bytes = b"abcdef", opcode: int = 1) -> bytes:
        line = Line(MalformMessage(kind, size=1000, opcode="any", direction=way))
        key = KEY if way == UP else None
        line.up(built(data, opcode, key=key)) if way == UP else line.down(built(data, opcode))
        return line.out[way]

    def one(*of: Any) -> Any:
        (seen,), rest = parsed(send(*of))
        assert not rest
        return seen

    assert one("invalid_utf8").payload == b"abc\xffef"
    assert one("invalid_utf8", b"\x03\xe8", 8).payload == b"\x03\xe8\xff"
    assert one("wrong_mask").masked is (way == DOWN)
    assert one("wrong_mask").payload == b"abcdef"
    assert one("wrong_rsv").rsv == 1
    assert one("wrong_opcode").opcode == 3
    assert one("wrong_opcode", b"", 9).opcode == 0xB
    assert one("unfinished").fin is False
    assert one("oversize").payload == b"abcdef".ljust(1000)
    half = send("short")
    assert parsed(half + b"xyz")[0][0].payload[:3] == b"abc"
    assert parsed(half)[0] == []


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_the_connection_ends_at_a_message(how: Any) -> None:
    for place, passed in (("before", 0), ("within", 2), ("after", 4)):
        line = Line(CutMessage(place, how, contains="b"))  # type: ignore[arg-type]
        line.down(text("a", "bb", "c"))
        assert line.out[DOWN] == text("a") + text("bb")[:passed]
        assert line.others == [Cut(1, how)]


def test_a_close_frame_comes_and_then_nothing() -> None:
    line = Line(HangingClose(4000, "bye"))
    line.down(text("a"))
    line.up(built(b"\x0f\xa0", 8, key=KEY))
    assert line.out == {DOWN: built(b"\x0f\xa0bye", 8), UP: b""}
    line.end("client_to_server")
    assert line.others == [End("client_to_server")]


def test_behind_a_hanging_close_the_servers_end_waits_for_the_clients() -> None:
    line = Line(HangingClose(1001))
    line.end("server_to_client")
    assert line.others == []
    line.remove(1)
    assert line.others == []
    line.end("client_to_server")
    assert line.others == [End("client_to_server"), End("server_to_client")]


def test_the_clients_close_is_never_answered() -> None:
    fault = HangingClose(None, place="instead", opcode="close", direction="client_to_server")
    line = Line(fault)
    line.down(text("a"))
    line.up(built(b"\x03\xe8", 8, key=KEY))
    line.down(text("b"))
    assert line.out == {DOWN: text("a"), UP: b""}


def test_a_rule_acts_between_a_request_and_its_answer() -> None:
    fault = DropMessage(
        where={"method": "tick"},
        since=Pattern(direction="client_to_server", where={"method": "public/subscribe"}),
        before=Pattern(same="id", where={"result": {"exists": True}}),
    )
    line = Line(fault)
    line.down(note(method="tick", n=1))
    line.up(ask(id=1, method="public/subscribe"), ask(id=2, method="public/subscribe"))
    line.down(note(method="tick", n=2), note(id=9, result=[]), note(id=1, result=[]))
    line.down(note(method="tick", n=3), note(id=2, result=[]), note(method="tick", n=4))
    assert [json.loads(each) for each in line.said()] == [
        {"method": "tick", "n": 1},
        {"id": 9, "result": []},
        {"id": 1, "result": []},
        {"id": 2, "result": []},
        {"method": "tick", "n": 4},
    ]


def test_the_answer_to_one_request_is_lost() -> None:
    line = Line(
        DropMessage(
            since=Pattern(direction="client_to_server", where={"method": "public/auth"}), same="id"
        )
    )
    line.up(ask(id=1, method="other"), ask(id=2, method="public/auth"))
    line.down(note(id=1), note(method="tick"), note(id=2), note(id=3))
    assert [json.loads(each) for each in line.said()] == [{"id": 1}, {"method": "tick"}, {"id": 3}]


def test_rules_act_one_after_the_other() -> None:
    line = Line(EditMessage({"n": 2}, where={"n": 1}), DuplicateMessage(where={"n": 2}))
    line.down(note(n=1), note(n=2), note(n=3))
    assert [json.loads(each)["n"] for each in line.said()] == [2, 2, 2, 2, 3]
    assert set(line.bites) == {1, 2}
    line = Line(DelayMessage(1.0), DelayMessage(0.5))
    line.down(text("x"))
    assert line.engine.due() == 1.5


def test_pings_are_dropped_while_data_is_not_even_read() -> None:
    line = Line(DropMessage(opcode="ping", direction="both"))
    line.down(built(b"p", 9), built(b"x" * 100)[:50])
    assert line.out[DOWN] == built(b"x" * 100)[:50]
    line.up(built(b"p", 9, key=KEY), built(b"p", 10, key=KEY))
    assert line.out[UP] == built(b"p", 10, key=KEY)


def test_fragments_of_a_message_are_put_together_and_pass_as_they_came() -> None:
    line = Line(DropMessage(contains="whole"))
    frames = (built(b"wh", fin=False), built(b"", 9), built(b"ole", 0))
    line.down(*frames)
    assert line.out[DOWN] == frames[1]
    frames = (built(b"ha", fin=False), built(b"", 9), built(b"lf", 0))
    line.out[DOWN] = b""
    line.down(*frames)
    assert line.out[DOWN] == frames[1] + frames[0] + frames[2]


def deflated(data: bytes, *, key: bytes | None = None) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return built(packed[:-4], rsv=4, key=key)


def test_compressed_messages_are_read_and_changed_ones_are_not_compressed() -> None:
    line = Line(EditMessage({"n": 2}, where={"n": 1}, direction="both"))
    other = deflated(b'{"n": 5}')
    line.down(deflated(b'{"n": 1}'), other)
    assert line.out[DOWN] == built(b'{"n":2}') + other
    line.up(deflated(b'{"n": 1}', key=KEY))
    assert line.out[UP] == built(b'{"n":2}', key=KEY)


def test_what_is_compressed_with_a_context_is_left_alone() -> None:
    line = Line(DropMessage(direction="both"), agreement=Agreement(True, False))
    line.down(deflated(b"x"), text("plain"))
    line.up(deflated(b"x", key=KEY))
    assert line.out == {DOWN: deflated(b"x"), UP: b""}


def test_a_compressed_bomb_is_not_read() -> None:
    bomb = deflated(b" " * 50_000_000)
    line = Line(DropMessage(contains=" "))
    line.down(bomb)
    assert line.out[DOWN] == bomb


def test_what_is_too_large_passes_without_a_look() -> None:
    line = Line(DropMessage())
    huge = built(bytes(5_000_000))
    line.down(huge[:100])
    assert line.out[DOWN] == huge[:100]
    line.down(huge[100:], text("after"))
    assert line.out[DOWN] == huge
    line = Line(DropMessage())
    parts = [built(bytes(3_000_000), fin=False), built(bytes(3_000_000), 0)]
    for part in parts:
        line.down(part)
    assert line.out[DOWN] == b"".join(parts)


def test_half_a_message_passes_when_the_direction_ends() -> None:
    line = Line(DropMessage())
    rest = built(b"part", fin=False) + text("half")[:4]
    line.down(rest)
    line.end("server_to_client")
    assert line.out[DOWN] == rest
    assert line.others == [End("server_to_client")]


def test_what_is_held_is_counted() -> None:
    line = Line(HoldMessage(contains="x"))
    line.down(text("xx"), text("abcdef")[:4])
    assert line.engine.held("server_to_client") == 8
    line.remove(1)
    assert line.engine.held("server_to_client") == 4
    assert line.engine.release("server_to_client") == text("abcdef")[:4]


@pytest.mark.parametrize("name", [name for name in FAULTS if "message" in name])
def test_settings_print_as_plain_values(name: str) -> None:
    cls = FAULTS[name]
    needed: dict[str, dict[str, Any]] = {
        "delay_message": {"delay": 1.0},
        "replace_message": {"payload": "x"},
        "edit_message": {"put": {"a": 1}},
        "malform_message": {"kind": "short"},
    }
    fault = cls(**needed.get(name, {}), since=Pattern(where={"a": 1}))  # type: ignore[call-arg]
    assert fault.needs_websocket
    assert json.loads(json.dumps(fault.settings()))["since"]["where"] == {"a": 1}
