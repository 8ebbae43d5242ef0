"""The baseline: what aiohttp itself does with a folder of files, and no question asked.

    python -m bench.baseline FOLDER [--loop uvloop|asyncio]

GET is aiohttp's own FileResponse. PUT, which aiohttp has not, is the plainest durable upload: a temp file,
fsync, rename, fsync of the folder, in threads. There are no keys, no conditions, no audit, no metrics, no digests.
"""

import argparse
import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import Final

import uvloop
from aiohttp import web

from bench.process import Process

BATCH_BYTES: Final = 2**20


class Baseline(Process):
    """A baseline server of `folder` in a process of its own."""

    def __init__(self, folder: Path, loop: str = "uvloop") -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(f"aiohttp-{loop}", folder, "bench.baseline", str(folder), "--loop", loop)


class Files:
    """Handlers for one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, request: web.Request) -> web.FileResponse:
        """The file."""
        return web.FileResponse(self._folder / request.match_info["name"])

    async def put(self, request: web.Request) -> web.Response:
        """Keep the body under the name, durably."""
        temp = self._folder / secrets.token_hex(8)
        with open(temp, "xb", buffering=0) as out:
            while data := await request.content.read(BATCH_BYTES):
                await asyncio.to_thread(out.write, data)
            await asyncio.to_thread(self._publish, out.fileno(), temp, request.match_info["name"])
        return web.Response(status=201)

    def _publish(self, descriptor: int, temp: Path, name: str) -> None:
        os.fsync(descriptor)
        os.rename(temp, self._folder / name)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


async def serve(folder: Path) -> None:
    """Until the process is ended."""
    app = web.Application()
    files = Files(folder)
    app.router.add_get("/{name}", files.get)
    app.router.add_put("/{name}", files.put)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"ready on http://{host}:{port}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Read the command line, serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    options = parser.parse_args()
    run = uvloop.run if options.loop == "uvloop" else asyncio.run
    run(serve(options.folder))


if __name__ == "__main__":
    main()
