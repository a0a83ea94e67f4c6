"""`python -m squall_reference`: the adapter protocol on standard input and output.

Exit status: 0 stopped as asked, 1 gave up, 2 wrong configuration.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from random import Random

from squall_reference.protocol import Commands, Configuration, ConfigurationError, serve
from squall_reference.stdio import Output, read_commands


async def run() -> int:
    """Run until standard input ends, or a signal or a command says stop."""
    try:
        configuration = Configuration.of(os.environ)
        return await _serve(configuration)
    except ConfigurationError as error:
        print(f"squall_reference: {error}", file=sys.stderr)
        return 2


async def _serve(configuration: Configuration) -> int:
    loop = asyncio.get_running_loop()
    commands: Commands = asyncio.Queue()
    output = Output(sys.stdout)
    await output.open()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, commands.put_nowait, None)
    reading = asyncio.create_task(read_commands(sys.stdin, commands, output.emit))
    try:
        # Not seeded: adapters that start together must not have the same jitter.
        return await serve(configuration, output.emit, commands, Random())
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()
        await output.close(within=configuration.settings.close_timeout)


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
