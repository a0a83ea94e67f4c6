"""Standard input and output as JSON lines, on real pipes."""

import asyncio
import json
import os
from typing import Any

from squall_reference.protocol import Commands
from squall_reference.stdio import BUFFER_BYTES, Output, read_commands
from test_reference_venue import run


def message(seq: int, channel: str = "trades.A") -> dict[str, Any]:
    return {"event": "message", "channel": channel, "seq": seq, "gap": False}


async def lines_of(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(fd, "rb"))
    return reader


def test_each_event_is_a_line_at_once() -> None:
    async def scene() -> None:
        read, write = os.pipe()
        with os.fdopen(write, "w") as stream:
            output = Output(stream)
            await output.open()
            reader = await lines_of(read)
            output.emit(message(1))
            assert json.loads(await reader.readline()) == message(1)
            await output.close(within=1)

    run(scene())


def test_where_nobody_reads_messages_are_dropped_and_the_next_one_says_so() -> None:
    async def scene() -> None:
        read, write = os.pipe()
        with os.fdopen(write, "w") as stream:
            output = Output(stream)
            await output.open()
            for seq in range(40_000):
                output.emit(message(seq))
            output.emit({"event": "state", "state": "disconnected"})
            reader = await lines_of(read)
            told = [json.loads(await reader.readline())]
            while told[-1]["event"] == "message":
                told.append(json.loads(await reader.readline()))
            assert told[:-1] == [message(seq) for seq in range(len(told) - 1)]
            assert BUFFER_BYTES < len(told) * len(json.dumps(message(1))) < 2 * BUFFER_BYTES
            for channel in ("trades.A", "trades.A", "trades.B"):
                output.emit(message(40_000, channel))
            gaps = [json.loads(await reader.readline())["gap"] for _ in range(3)]
            assert gaps == [True, False, False]
            await output.close(within=1)

    run(scene())


def test_close_does_not_wait_for_ever_for_a_reader() -> None:
    async def scene() -> None:
        read, write = os.pipe()
        with os.fdopen(read), os.fdopen(write, "w") as stream:
            output = Output(stream)
            await output.open()
            for seq in range(40_000):
                output.emit(message(seq))
            await output.close(within=0.05)

    run(scene())


def test_a_reader_that_is_gone_does_no_harm() -> None:
    async def scene() -> None:
        read, write = os.pipe()
        with os.fdopen(write, "w") as stream:
            output = Output(stream)
            await output.open()
            os.close(read)
            for seq in range(10):
                output.emit(message(seq))
                await asyncio.sleep(0)
            await output.close(within=1)

    run(scene())


def test_commands_are_queued_and_the_end_is_none() -> None:
    async def scene() -> None:
        read, write = os.pipe()
        os.write(write, b'{"id": 1}\nnonsense\n{"id": 2}')
        os.close(write)
        commands: Commands = asyncio.Queue()
        told: list[Any] = []
        with os.fdopen(read) as stream:
            await read_commands(stream, commands, told.append)
        assert [commands.get_nowait() for _ in range(3)] == [{"id": 1}, {"id": 2}, None]
        assert len(told) == 1

    run(scene())
