"""What the tests of the S3 commands share: the command line in this process, a form's body."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.gate import Answer, Gate
from valetstore.cli.main import command
from valetstore.errors import ConfigInvalid
from valetstore.signing import SigningRefused


class Line:
    """The command line, run in this process on one data directory: much quicker than a process of its own."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys
        self.errors = ""

    def __call__(self, *args: str, status: int = 0) -> str:
        """What it printed on stdout; the exit status must be `status`."""
        found = command.main([*args, "--data", str(self.data)], standalone_mode=False)
        out, self.errors = self._capsys.readouterr()
        assert (found or 0) == status, out + self.errors
        return out

    def json(self, *args: str, status: int = 0) -> Any:
        """The same with `--json`, read."""
        return json.loads(self(*args, "--json", status=status))

    def refused(self, *args: str) -> str:
        """The sentence with which it ends instead."""
        with pytest.raises((ConfigInvalid, SigningRefused)) as caught:
            self(*args)
        self._capsys.readouterr()
        return str(caught.value)


def post(gate: Gate, url: str, fields: Mapping[str, str], name: str, body: bytes) -> Answer:
    """Send a form as a browser does."""
    boundary = "formboundary"
    parts = [f'--{boundary}\r\ncontent-disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    whole = "".join(parts).encode() + head.encode() + body + f"\r\n--{boundary}--\r\n".encode()
    target = urlsplit(url).path
    return gate.ask("POST", target, whole, {"content-type": f"multipart/form-data; boundary={boundary}"})
