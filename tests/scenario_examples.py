"""Scenario files and manifests, right and wrong, for the tests of the parser and the schemas."""

from __future__ import annotations

from dataclasses import dataclass

GOOD = """\
name: good
about: The line goes dead without a FIN or RST; the adapter must notice the silence.
covers:
  catalogue: [B-01]
  guide: [2, drop_connection]
  bugs: ["https://github.com/ccxt/ccxt/issues/20946"]
channels: {trades: 2, book: 2, ticker: 1, orders: 1}
exchange: {dialect: deribit, ack_latency: 15ms, token_lifetime: 60s}
adapter: {settings: {silence_timeout: 3, urls: [a, null]}, needs: [private], count: 1}
clock: [real, virtual]
seed: 7
steps:
  - {do: rst}
  - {do: blackhole, direction: both, until: abandoned, at_most: 60s}
  - {when: {event: auth_requested, nth: 2}, do: rst, target: newest}
  - {at: 5s, do: refuse, for: 20s}
  - {after: 1.5s, do: throttle, rate: 10kB/s, for: 3s}
  - {do: http, status: 503, headers: {Retry-After: 10}}
  - {do: delay_ack, method: auth, delay: 2s}
  - {do: wait, until: steady, at_most: 30s}
  - repeat: 10
    steps:
      - {do: rst}
      - {do: wait, until: steady}
      - {do: sample}
  - {do: heal}
  - {do: subscribe, channels: {trades: 1}}
  - {do: unsubscribe, channels: [trades/1]}
  - {do: request, method: private/buy, params: {amount: 10}, count: 10}
  - {do: pause_adapter, for: 5s}
  - {do: stop_adapter}
expect:
  detects_silence: {within: 60s}
  subscriptions_restored:
  A6: {}
settle: 30s
calm: 2s
"""

SMALL = """\
name: small
about: One reset.
channels: [trades.BTC-PERPETUAL.100ms]
steps: [{do: rst}]
expect: {A4: {}}
"""

ALIASES = """\
name: aliases
about: Two steps that share their timing.
channels: {trades: 1}
steps:
  - &first {do: wait, for: 3s}
  - *first
  - {<<: *first, for: 5s}
expect: {A4: {}}
"""

VARIANTS = """\
name: variants
about: A close with code ${code}.
channels: {trades: 1}
variants:
  - {code: 1000, pause: 1s}
  - {code: 4000, pause: 0.5s}
steps:
  - {do: close, code: "${code}", reason: "code ${code}"}
  - {do: wait, for: "${pause}"}
expect: {A4: {}}
"""

GOOD_SCENARIOS = {"good": GOOD, "small": SMALL, "aliases": ALIASES, "variants": VARIANTS}


@dataclass(frozen=True)
class Bad:
    """A mistake: what of the good file is replaced by what, and what is said of it.

    `schema` tells whether a JSON Schema can see it too.
    """

    old: str
    new: str
    said: str
    schema: bool = True

    def of(self, good: str) -> str:
        assert self.old in good
        return good.replace(self.old, self.new, 1)


BAD_SCENARIOS = [
    Bad("do: blackhole", "do: latnecy", "14:10: unknown fault 'latnecy'. Did you mean 'latency'?"),
    Bad("{do: rst}", "{does: rst}", "13:6: a step has no 'does'. Did you mean 'do'?"),
    Bad("{do: rst}", "{}", "13:5: a step needs 'do', such as {do: rst}, or 'repeat'"),
    Bad("{do: rst}", "rst", "13:5: a step is written {do: rst}; found 'rst'"),
    Bad("{do: rst}", "{do: [rst]}", "13:10: do is a text; found a list"),
    Bad("repeat: 10", "repaet: 10", "21:5: a step has no 'repaet'. Did you mean 'repeat'?"),
    Bad("repeat: 10", "repeat: 0", "21:13: repeat is at least 1; found '0'"),
    Bad("repeat: 10", "repeat: ten", "21:13: repeat is a whole number, such as 3; found 'ten'"),
    Bad("repeat: 10", "repeat: 9000", "21:13: makes 27000 steps; 10000 is the limit", False),
    Bad("dir", "dri", "14:21: blackhole has no 'driection'. Did you mean 'direction'?"),
    Bad("both", "up", "14:32: unknown direction 'up'. Known: both, client_to_server,"),
    Bad("10kB/s", "10kb/s", "17:39: rate: unknown unit 'kb/s' in '10kb/s'. Did you mean 'kB/s'?"),
    Bad("status: 503, ", "", "18:5: http needs 'status'"),
    Bad("status: 503", "status: 99", "18:5:", False),
    Bad("for: 20s", "for: 20", "16:31: for: durations carry a unit: 20s or 20ms"),
    Bad("for: 20s", "for: 20 sek", "16:31: for: unknown unit 'sek' in '20 sek'."),
    Bad("for: 20s", "for: 5m/s", "16:31: for: unknown unit 'm/s' in '5m/s'. Did you mean 'ms'?"),
    Bad(
        "for: 20s", "for: soon", "16:31: for is a number with its unit: 200ms, 5s, 2m or 1h; found"
    ),
    Bad("for: 20s", "for: -1s", "16:31: for is a number with its unit"),
    Bad("for: 20s", "fro: 20s", "16:26: refuse has no 'fro'. Did you mean 'for'?"),
    Bad("at: 5s", "at: 5s, after: 3s", "16:5: a step begins at one moment: at or after", False),
    Bad("for: 20s", "for: 20s, until: steady", "16:5: a step ends once: for, or until", False),
    Bad("at: 5s", "at_most: 5s", "16:6: at_most limits how long when or until is waited", False),
    Bad("until: abandoned", "until: abandond", "14:45: unknown condition 'abandond'. Did you mean"),
    Bad(
        "until: abandoned", "until: opened", "14:45: 'opened' is an event, which is written {event:"
    ),
    Bad("until: abandoned", "until: [steady]", "14:45: a condition is steady, abandoned,"),
    Bad("auth_requested", "auth_request", "15:20: unknown event 'auth_request'. Did you mean"),
    Bad("auth_requested", "closed", "15:12: 'closed' is reported by proxy and exchange;", False),
    Bad("nth: 2", "nth: 0", "15:41: nth is at least 1; found '0'"),
    Bad("nth: 2", "source: proxy", "15:12: 'auth_requested' is never reported by 'proxy'", False),
    Bad("newest", "newst", "15:62: unknown target 'newst'. Did you mean 'newest'?"),
    Bad(
        "{do: heal}", "{do: heal, target: oldest}", "26:5: target is for faults of the line; 'heal'"
    ),
    Bad(", until: steady, at", ", for: 3s, at", "20:25: at_most limits how long", False),
    Bad(
        "{do: pause_adapter, for: 5s}", "{do: pause_adapter}", "30:5: pause_adapter needs an", False
    ),
    Bad("{trades: 1}", "[trade/1]", "27:5: 'trade/1': unknown kind of channel 'trade'.", False),
    Bad("[trades/1]", "trades/1", "28:33: channels is a list, such as [trades/1]; found"),
    Bad("[trades/1]", "[]", "28:33: channels has at least 1; found 0"),
    Bad("amount: 10", "on: yes", "29:53: 'yes' is true to some and a word to others", False),
    Bad("A6:", "A3:", "35:3: 'A3' is here a second time, under another name", False),
    Bad("A6:", "A66:", "35:3: unknown check 'A66'."),
    Bad("within", "witin", "33:21: detects_silence has no 'witin'. Did you mean 'within'?"),
    Bad("within: 60s", "within: 60", "33:29: within: durations carry a unit: 60s or 60ms"),
    Bad("name: good", "name: godo", "1:7: name is 'godo', but the file is called 'good'", False),
    Bad("name: good", "Name: good", "1:1: a scenario has no 'Name'. Did you mean 'name'?"),
    Bad("name: good\n", "", "1:1: a scenario needs 'name'"),
    Bad("trades: 2", "trade: 2", "7:12: unknown key 'trade'. Did you mean 'trades'?"),
    Bad("trades: 2", "trades: two", "7:20: trades is a whole number, such as 3; found 'two'"),
    Bad("trades: 2", "trades: true", "7:20: trades is a whole number, such as 3; found 'true'"),
    Bad("dialect: deribit", "dialect: derbit", "8:21: unknown dialect 'derbit'. Did you mean"),
    Bad("ack_latency", "ack_latncy", "8:30: exchange has no 'ack_latncy'. Did you mean"),
    Bad("15ms", "15", "8:43: ack_latency: durations carry a unit: 15s or 15ms"),
    Bad("B-01", "B1", "4:15: catalogue is a row, such as B-01; found 'B1'"),
    Bad("guide: [2", "guide: [7", "5:11: unknown guide '7'."),
    Bad("seed: 7", "seed: 1:30", "11:7: seed is a whole number, such as 3; found '1:30'", False),
    Bad("[real, virtual]", "virtual", "10:8: clock is a list, such as [virtual]; found 'virtual'"),
    Bad("[private]", "[privat]", "9:68: unknown needs 'privat'. Did you mean 'private'?"),
    Bad("settle: 30s", "settle:", "36:8: settle is a number with its unit"),
    Bad("about: The", "about:\n# The", "2:7: about has no value here"),
    Bad("calm: 2s", "seed: 8", "37:1: the key 'seed' is here a second time", False),
    Bad("seed: 7", "seed: !!int 7", "11:7: the tag '", False),
]

MANIFEST = """\
name: my-adapter
command: [python, my_adapter.py, --port, 80]
dialect: deribit
url_env: DERIBIT_WS_URL
env: {LOG_LEVEL: debug, WORKERS: 4, DEBUG: true}
settings: {backoff_max: 60, venues: [a, b]}
supports: [public, private, subscribe, unsubscribe, request, health]
channels: [btcusdt@trade]
connections: 2
redirect: http-proxy
expect:
  half-open:
    outcome: fail
    reason: It has no deadline for silence.
    link: https://github.com/ccxt/ccxt/issues/20946
grace: 2s
"""

GOOD_MANIFESTS = {
    "full": MANIFEST,
    "command": "name: a\ncommand: [./adapter]\n",
    "object": "name: a\nobject: my_package.adapter:run\n",
}

BAD_MANIFESTS = [
    Bad(
        "name: my-adapter",
        "nmae: my-adapter",
        "1:1: a manifest has no 'nmae'. Did you mean 'name'?",
    ),
    Bad("[python, my_adapter.py, --port, 80]", "python a.py", "2:10: command is a list, such as"),
    Bad("[python, my_adapter.py, --port, 80]", "[]", "2:10: command has at least 1; found 0"),
    Bad("command: [python, my_adapter.py, --port, 80]", "", "1:1: a manifest needs 'command'"),
    Bad(
        "command: [python, my_adapter.py, --port, 80]", "object: run", "2:9: object is of the form"
    ),
    Bad("deribit", "derbit", "3:10: unknown dialect 'derbit'. Did you mean 'deribit'?"),
    Bad("WORKERS: 4", "WORKERS: [4]", "5:34: WORKERS is a text; found a list"),
    Bad("request,", "requests,", "7:53: unknown supports 'requests'. Did you mean 'request'?"),
    Bad("connections: 2", "connections: 0", "9:14: connections is at least 1; found '0'"),
    Bad("http-proxy", "proxy", "10:11: unknown redirect 'proxy'."),
    Bad(
        "    reason: It",
        "    raison: It",
        "14:5: half-open has no 'raison'. Did you mean 'reason'?",
    ),
    Bad(
        "https:",
        "see https:",
        "15:11: link is a link; found 'see https://github.com/ccxt/ccxt/issues/20946'",
    ),
    Bad("outcome: fail", "outcome: pass", "13:14: unknown outcome 'pass'. Known: fail, unknown."),
    Bad("grace: 2s", "grace: 2", "16:8: grace: durations carry a unit: 2s or 2ms"),
    Bad("grace: 2s", "expect: {half-open: fail}", "16:1: the key 'expect' is here a second", False),
]
