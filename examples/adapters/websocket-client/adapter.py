"""`websocket-client`, reconnecting as its README shows for long-lived connections.

That is WebSocketApp.run_forever with the dispatcher `rel` and reconnect=5. The manifest can leave
the dispatcher out, for the one that is built in, and name further arguments of run_forever.
"""

import json
import os
import sys
import threading

import rel
import websocket

SETTINGS = json.loads(os.environ["SQUALL_SETTINGS"])
SUBSCRIBE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "public/subscribe",
    "params": {"channels": json.loads(os.environ["SQUALL_CHANNELS"])},
}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def on_open(app):
    # With `reconnect` set, neither on_error nor on_close tells of a loss: this is the first news.
    say("state", state="disconnected", reason="told by the next on_open")
    say("state", state="connected")
    app.send(json.dumps(SUBSCRIBE))


def on_message(app, text):
    message = json.loads(text)
    if message.get("method") == "subscription":
        channel, data = message["params"]["channel"], message["params"]["data"]
        seq = data[-1]["trade_seq"] if isinstance(data, list) else data.get("change_id")
        say("message", channel=channel, seq=seq)


def stop():
    sys.stdin.read()
    app.close()
    rel.abort()


say("ready", commands=[], version=websocket.__version__)
app = websocket.WebSocketApp(os.environ["SQUALL_URL"], on_open=on_open, on_message=on_message)
threading.Thread(target=stop, daemon=True).start()
if SETTINGS.get("dispatcher") == "built-in":
    app.run_forever(reconnect=5, **SETTINGS.get("run_forever", {}))
else:
    app.run_forever(dispatcher=rel, reconnect=5)
    rel.dispatch()
