"""A worker's process: `python -m valetstore.cli.worker N`, started by the gateway itself and of no use to anybody else.

Its only argument is the descriptor of its end of the channel; everything else comes over that.

Rule: it takes no orders from a terminal or a service manager but SIGTERM: drain. Ctrl-C reaches all processes of
a terminal, and the gateway's own one decides what it means.
"""

import ctypes
import os
import signal
import socket
import sys
from typing import Final

import uvloop

from valetstore.cli.logs import Log
from valetstore.edge.child import Child
from valetstore.errors import ConfigInvalid

_PR_SET_PDEATHSIG: Final = 1


def main() -> int:
    """Serve; the exit status."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        os.write(2, b"valetstore: this is a worker's process, which the gateway starts; use `valetstore serve`\n")
        return 2
    # The kernel ends this process with the one that started it, even while its loop is blocked or it is stopped.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ours = socket.socket(fileno=int(sys.argv[1]))
    with Log():
        try:
            uvloop.run(_run(ours))
        except ConfigInvalid as error:
            os.write(2, f"valetstore: {error}\n".encode())
            return 2
    return 0


async def _run(ours: socket.socket) -> None:
    await Child().run(ours)


if __name__ == "__main__":
    sys.exit(main())
