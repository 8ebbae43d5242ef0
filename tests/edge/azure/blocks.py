"""Blocks in short sentences: staged, committed and listed by requests of our own."""

import base64
import io
from typing import Any
from xml.etree.ElementTree import fromstring

from azure.core.exceptions import HttpResponseError

from tests.edge.azure.conftest import Account
from tests.gate import Answer

DATA = bytes(number * 131 % 251 for number in range(5000)) * 200
SMALL: dict[str, Any] = {"max_single_put_size": 1000, "max_block_size": 150_000}


def id_of(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def stage(account: Account, blob: str, name: str, data: bytes, sas: str = "") -> Answer:
    """Put Block."""
    return account.ask("PUT", blob, data, sas=sas or None, comp="block", blockid=id_of(name))


def listed(*entries: tuple[str, str]) -> bytes:
    """A block list: (where, name) of each."""
    rows = "".join(f"<{where}>{id_of(name)}</{where}>" for where, name in entries)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{rows}</BlockList>'.encode()


def latest(*names: str) -> bytes:
    return listed(*(("Latest", name) for name in names))


def commit(account: Account, blob: str, body: bytes, headers: dict[str, str] | None = None, sas: str = "") -> Answer:
    return account.ask("PUT", blob, body, headers, sas=sas or None, comp="blocklist")


def blocks_of(account: Account, blob: str, kind: str = "all") -> dict[str, list[tuple[str, int]]]:
    answer = account.ask("GET", blob, comp="blocklist", blocklisttype=kind)
    assert answer.status == 200, answer
    return {
        element.tag: [
            (base64.b64decode(row.findtext("Name") or "").decode(), int(row.findtext("Size") or -1)) for row in element
        ]
        for element in fromstring(answer.body)
    }


def body_of(account: Account, blob: str) -> bytes:
    answer = account.ask("GET", blob)
    assert answer.status == 200, answer
    return answer.body


def told(error: HttpResponseError, header: str = "x-ms-error-code") -> str:
    """What a refusal's head says to the client."""
    response: Any = error.response
    return str(response.headers[header])


class Stream:
    """What tells nobody its length."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, count: int = -1) -> bytes:
        return self._file.read(count)
