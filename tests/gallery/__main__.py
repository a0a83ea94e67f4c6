"""An adapter of the gallery as a program: `python -m gallery NAME`, or `python -m gallery good`.

Standard input carries commands, standard output events, one JSON object a line. The end of
standard input asks it to stop, and so does SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from gallery import GALLERY
from gallery.deribit import Json
from gallery.good import Adapter


def emit(event: Json) -> None:
    print(json.dumps(event), flush=True)


async def main(adapter: type[Adapter]) -> None:
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[Json | None] = asyncio.Queue()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, commands.put_nowait, None)
    listening = asyncio.create_task(listen(stdin, commands))
    try:
        await adapter(os.environ, emit, commands)
    finally:
        listening.cancel()


async def listen(stdin: asyncio.StreamReader, commands: asyncio.Queue[Json | None]) -> None:
    while line := await stdin.readline():
        commands.put_nowait(json.loads(line))
    commands.put_nowait(None)


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "good"
    if name != "good" and name not in GALLERY:
        sys.exit(f"no adapter is called {name!r}. Known: good, {', '.join(GALLERY)}")
    asyncio.run(main(Adapter if name == "good" else GALLERY[name].adapter))
