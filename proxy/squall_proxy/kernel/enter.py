"""Starts a command inside the client's network: `python enter.py PID FILE COMMAND...`.

PID is the warden's, and FILE the number of the open file by which it holds the network. Whoever
has the rights keeps who they are; others become root of the warden's user namespace, which is
nobody's root outside. It imports nothing of Squall's.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000


def main() -> None:
    """Go there and become the command; 126 where that is impossible, 127 where there is none."""
    pid, file, *command = sys.argv[1:]
    folder = os.getcwd()
    spaces = [(f"fd/{file}", CLONE_NEWNET), ("ns/mnt", CLONE_NEWNS)]
    files = [(os.open(f"/proc/{pid}/{path}", os.O_RDONLY), kind) for path, kind in spaces]
    user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(files[0][0], CLONE_NEWNET) != 0:
        files.insert(0, (user, CLONE_NEWUSER))
    for fd, kind in files:
        if libc.setns(fd, kind) != 0:
            error = os.strerror(ctypes.get_errno())
            sys.stderr.write(f"the network cannot be entered: {error}\n")
            sys.exit(126)
    os.chdir(folder)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
