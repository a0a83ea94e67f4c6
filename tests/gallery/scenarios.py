"""Scenarios that are of use to the gallery only, built in Python as a user would."""

from __future__ import annotations

from squall.scenario import AdapterNeeds, Sample, Scenario, Step, Wait, repeat
from squall_proxy import Rst

QUIET = Scenario(
    name="nothing-happens",
    about="The adapter is left alone: nothing can be said of it.",
    channels={"trades": 2, "book": 1, "orders": 1},
    steps=(Step(Wait(), lasting=5.0),),
    expect={"data_resumes": {}, "reconnects": {}, "detects_silence": {}},
)

EXTRA = (
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
)
