"""One store, many signers: what is written with a key of one dialect is read with a key of every other."""

import itertools
from collections.abc import Iterator
from typing import Final

import pytest

from tests.gate import Answer, Gate
from tests.interop import signers
from tests.interop.signers import Request, Signer

READERS: Final = (
    "native", "s3-v4", "s3-v2", "gcs-v4", "gcs-v2", "azure", "swift", "cloudfront", "cloudfront-cookie",
)  # fmt: skip
WRITERS: Final = tuple(name for name in READERS if not name.startswith("cloudfront"))

NAMES: Final = ("plain.txt", "folder/a b+c.txt", "grüße/日本語.txt", "~tilde_-.dot", "100%25.txt")


class Doors:
    """A gateway, and a signer for each dialect."""

    def __init__(self, gate: Gate, all_signers: dict[str, Signer]) -> None:
        self.gate = gate
        self.signers = all_signers

    def send(self, request: Request, body: bytes | None = None) -> Answer:
        """Send it as a client would that knows nothing but the URL and its headers."""
        headers = {"Host": signers.host_of(request), **request.headers}
        return self.gate.ask(request.method, request.url, body, headers)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A gateway with a signing key of each dialect."""
    folder = tmp_path_factory.mktemp("matrix")
    schemes = ("native", "s3", "gcs", "azure", "swift", "cloudfront")
    made = {scheme: signers.make_key(folder, scheme) for scheme in schemes}
    with Gate(folder) as gate:
        yield Doors(
            gate,
            {
                "native": signers.native(made["native"], gate.base),
                "s3-v4": signers.s3(made["s3"], gate.base, "s3v4"),
                "s3-v2": signers.s3(made["s3"], gate.base, "s3"),
                "gcs-v4": signers.gcs(made["gcs"], gate.base, "v4"),
                "gcs-v2": signers.gcs(made["gcs"], gate.base, "v2"),
                "azure": signers.azure(made["azure"], gate.base),
                "swift": signers.swift(made["swift"], gate.base),
                "cloudfront": signers.cloudfront(made["cloudfront"], gate.base, cookie=False),
                "cloudfront-cookie": signers.cloudfront(made["cloudfront"], gate.base, cookie=True),
            },
        )
        assert "Traceback" not in gate.log


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_one_writes_every_other_reads(doors: Doors, writer: str, name: str) -> None:
    """The bytes, their length, their type, and the entity tag they all see alike."""
    bucket = f"of-{writer}"
    put = doors.signers[writer].put
    assert put is not None
    body = f"{writer} wrote {name}".encode()
    stored = doors.send(put(bucket, name), body)
    assert stored.status in (200, 201), stored.body
    seen = {}
    for reader in READERS:
        answer = doors.send(doors.signers[reader].get(bucket, name))
        assert (answer.status, answer.body) == (200, body), (reader, answer.body)
        assert answer.headers["content-length"] == str(len(body))
        seen[reader] = answer.headers["etag"].strip('"')
    assert len(set(seen.values())) == 1, seen


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(WRITERS, 2)))
def test_a_later_write_is_seen_by_all(doors: Doors, one: str, other: str) -> None:
    """There is one object, whoever has written it last."""
    bucket, name = "shared", f"{one}-then-{other}.txt"
    for writer in (one, other):
        put = doors.signers[writer].put
        assert put is not None
        assert doors.send(put(bucket, name), writer.encode()).status in (200, 201)
    assert {doors.send(doors.signers[reader].get(bucket, name)).body for reader in READERS} == {other.encode()}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations([r for r in READERS if "cookie" not in r], 2)))
def test_two_keys_in_one_url_are_refused(doors: Doors, one: str, other: str) -> None:
    """Whatever their dialects: two parties might judge by different ones."""
    first, second = (doors.signers[name].get("shared", "x").url for name in (one, other))
    answer = doors.send(Request("GET", f"{first}&{second.partition('?')[2]}", {}))
    assert answer.status in (400, 401, 403), answer.body
    assert answer.code in ("key_ambiguous", "key_malformed"), (answer.code, answer.body)


@pytest.mark.parametrize("one", [reader for reader in READERS if "cookie" not in reader])
def test_of_a_url_and_a_cookie_the_url_counts(doors: Doors, one: str) -> None:
    """A browser adds its cookies by itself: they neither open nor refuse what a key in the URL was sent for."""
    url, cookie = doors.signers[one].get("shared", "x"), doors.signers["cloudfront-cookie"].get("other", "x")
    plain, both = doors.send(url), doors.send(url._replace(headers=url.headers | cookie.headers))
    assert (both.status, both.code) == (plain.status, plain.code)
    assert both.code in ("not_found", "bucket_not_found")
