"""Scenarios that show what none of the catalogue shows, built in Python as a user would.

Most wait for longer than a catalogue likes to on the real clock; on the virtual one they cost
nothing.
"""

from __future__ import annotations

from squall.exchange.faults import DropAck, Gap, Limit, StallChannel
from squall.scenario import (
    AdapterNeeds,
    Request,
    Sample,
    Scenario,
    Seen,
    Step,
    Unsubscribe,
    Wait,
    repeat,
)
from squall_proxy import HandshakeBlackhole, Rst

BUY = Request(
    "private/buy",
    {"instrument_name": "BTC-PERPETUAL", "amount": 10, "type": "limit", "price": 100},
    count=5,
)

QUIET = Scenario(
    name="nothing-happens",
    about="The adapter is left alone: nothing can be said of it.",
    channels={"trades": 2, "book": 1, "orders": 1},
    steps=(Step(Wait(), lasting=5.0),),
    expect={"data_resumes": {}, "reconnects": {}, "detects_silence": {}},
)

EXTRA = (
    Scenario(
        name="upgrade-never-answered",
        about="For 70 s dials are accepted and upgrade requests are not answered.",
        channels={"trades": 2, "book": 1},
        adapter=AdapterNeeds(settings={"backoff_max": 4}),
        steps=(Step(HandshakeBlackhole("upgrade")), Step(Rst()), Step(Wait(), lasting=70.0)),
        expect={"detects_silence": {}, "data_resumes": {}, "subscriptions_restored": {}},
    ),
    Scenario(
        name="stalled-channel",
        about="One channel falls silent for 70 s while all others go on.",
        channels={"trades": 2, "book": 1},
        steps=(Step(StallChannel("trades/1"), lasting=70.0),),
        expect={"knows_it_is_stale": {}, "data_resumes": {}, "subscriptions_restored": {}},
    ),
    Scenario(
        name="book-gap",
        about="A book that has run for a while misses one change.",
        channels={"trades": 1, "book": 2},
        steps=(
            Step(Wait(), lasting=5.0),
            Step(Gap("book/1"), lasting=2.0),
            Step(Wait(), lasting=10.0),
        ),
        expect={"resynchronises": {}, "no_silent_loss": {}, "subscriptions_restored": {}},
    ),
    Scenario(
        name="paced-restore",
        about="Twenty channels come back over a line that takes eight messages a second.",
        channels={"trades": 12, "book": 8},
        steps=(Step(Limit(count=8)), Step(Rst()), Step(Wait(), until="steady")),
        expect={"paces_requests": {}, "subscriptions_restored": {}, "data_resumes": {}},
    ),
    Scenario(
        name="drop-after-unsubscribe",
        about="A channel is given up, and some time later the line drops.",
        channels={"trades": 2, "book": 2},
        steps=(
            Step(Unsubscribe(("book/1",))),
            Step(Wait(), lasting=2.0),
            Step(Rst()),
        ),
        expect={"removed_stay_removed": {}, "subscriptions_restored": {}},
    ),
    Scenario(
        name="short-cycles",
        about="A dozen drops, as fast as the adapter comes back; what it holds stays as it was.",
        channels={"trades": 1, "orders": 1},
        adapter=AdapterNeeds(
            needs=("process",),
            settings={"stable_after": 0.0, "first_delay_max": 0.1},
        ),
        steps=repeat(12, Step(Rst()), Step(Wait(), until="steady"), Step(Sample())),
        expect={"no_growth": {}, "subscriptions_restored": {}, "data_resumes": {}},
    ),
    Scenario(
        name="answers-lost-with-the-line",
        about="Orders are placed, their answers are lost, and then the line is.",
        channels={"trades": 1, "orders": 1},
        steps=(
            Step(DropAck("private/buy", times=None, carried_out=True)),
            Step(BUY),
            Step(Rst(), when=Seen("order_placed", nth=5)),
            Step(Wait(), lasting=31.0),
        ),
        expect={"requests_finish": {}, "subscriptions_restored": {}, "data_resumes": {}},
    ),
)
