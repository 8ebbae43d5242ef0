"""What a browser gets to see: nothing that could run as a page of this host, no header that was smuggled in."""

import json
from typing import Any

import pytest

from tests.edge.doors import Door, mint, target
from tests.edge.wire import head
from tests.gate import Answer, Gate

ACTIVE = [
    "text/html",
    "TEXT/HTML; charset=utf-8",
    " text/html ",
    "image/svg+xml",
    "application/xhtml+xml",
    "application/xml",
    "text/xml;x=y",
    "application/rss+xml",
    "application/mathml+xml",
    "multipart/x-mixed-replace; boundary=x",
    # No media types: what a browser makes of them, nobody knows.
    "text/plain, text/html",
    "text/plain;x=y, text/html",
    "text/ht\x85ml",
    "text/html\xa0",
    "text",
    "*/*text/html",
]
PASSIVE = ["text/plain", "image/png", "application/pdf", "video/mp4", 'text/plain; x="a,b"', "application/octet-stream"]


def put(gate: Gate, path: str, headers: dict[str, str]) -> None:
    """Store something with these headers."""
    assert gate.ask("PUT", gate.sign("PUT", path), b"<script>alert(1)</script>", headers).status in {200, 201}


def get(gate: Gate, path: str, **claims: Any) -> Answer:
    """Read it, with a key of these claims; HEAD must say the same."""
    url = target(path, mint(gate, ops=["read"], path=path, **claims))
    answer = gate.ask("GET", url)
    described = gate.ask("HEAD", url).headers
    for volatile in ("x-request-id", "date"):
        del described[volatile]
    assert described.items() <= answer.headers.items()
    return answer


def check_safe(answer: Answer) -> None:
    """What every answer with somebody's bytes says."""
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "cache-control" in answer.headers


@pytest.mark.parametrize("content_type", ACTIVE)
def test_active_types_are_offered_for_saving(gate: Gate, content_type: str) -> None:
    """Whatever the uploader, or the key, asks for."""
    put(gate, "/s/active", {"Content-Type": content_type, "Content-Disposition": "inline; filename=a.html"})
    asks: list[dict[str, Any]] = [{}, {"response": {"content-disposition": "inline"}}]
    for claims in asks:
        answer = get(gate, "/s/active", **claims)
        check_safe(answer)
        assert answer.headers["content-disposition"].startswith("attachment")
    assert "filename=a.html" in get(gate, "/s/active").headers["content-disposition"]


def test_a_signed_type_is_judged_too(gate: Gate) -> None:
    """A key that turns text into a page cannot make it open."""
    put(gate, "/s/turned", {"Content-Type": "text/plain"})
    for kind in ("text/html", "text/plain, text/html", "text/ht\u0434ml"):
        answer = get(gate, "/s/turned", response={"content-type": kind, "content-disposition": "inline"})
        assert answer.headers["content-disposition"] == "attachment"
        check_safe(answer)


@pytest.mark.parametrize("content_type", PASSIVE)
def test_passive_types_open_in_place(gate: Gate, content_type: str) -> None:
    """An image is an image."""
    put(gate, "/s/passive", {"Content-Type": content_type})
    answer = get(gate, "/s/passive")
    check_safe(answer)
    assert answer.headers["content-type"] == content_type
    assert "content-disposition" not in answer.headers
    assert answer.headers["cache-control"] == "private"


def test_refusals_and_lists_are_safe_as_well(gate: Gate) -> None:
    """They repeat what a client wrote."""
    put(gate, "/s/<b>list", {})
    listed = gate.ask("GET", gate.sign("LIST", "/s/"))
    assert "<b>list" in [row["name"] for row in listed.json()["objects"]]
    for answer in (listed, gate.ask("GET", "/s/%3Cscript%3E"), gate.ask("GET", "/_valet/live")):
        check_safe(answer)
        assert answer.headers["content-type"].endswith("json")
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        ('attachment; filename="plain name.txt"', 'attachment; filename="plain name.txt"'),
        ('attachment; filename="да.txt"', "attachment; filename=\"__.txt\"; filename*=UTF-8''%D0%B4%D0%B0.txt"),
        ('inline; filename="a\\"é.txt"', "inline; filename=\"a__.txt\"; filename*=UTF-8''a%22%C3%A9.txt"),
        ("вложение; filename=a.txt", 'attachment; filename="a.txt"'),
        ("вложение", "attachment"),
        ("inline; name=é", "inline; name=\xe9"),
    ],
)
def test_file_names_of_any_script(gate: Gate, disposition: str, expected: str) -> None:
    """Signed by a key, or stored as UTF-8: in the form that browsers read (RFC 6266), never a fault."""
    put(gate, "/s/named", {"Content-Type": "text/plain"})
    signed = get(gate, "/s/named", response={"content-disposition": disposition}).headers["content-disposition"]
    if expected == "attachment":
        assert "\u0432" not in signed
    else:
        assert signed == expected
    put(gate, "/s/named", {"Content-Type": "text/plain", "Content-Disposition": disposition.encode().decode("latin-1")})
    stored = get(gate, "/s/named").headers["content-disposition"]
    assert "filename" not in disposition or stored == expected


def test_other_overrides_of_any_script_are_sent_somehow(gate: Gate) -> None:
    """A value that HTTP cannot carry is never a 500."""
    put(gate, "/s/other", {"Content-Type": "text/plain"})
    answer = get(gate, "/s/other", response={"cache-control": "наив", "content-language": "日本"})
    assert answer.status == 200
    assert answer.headers["cache-control"] == "????"


EVIL = ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\0b", "a\u2028b", "a\x7f", "a\x85b"]


@pytest.mark.parametrize("evil", EVIL)
def test_signed_headers_cannot_split(gate: Gate, evil: str) -> None:
    """Such a key is malformed, whoever signed it."""
    put(gate, "/s/split", {"Content-Type": "text/plain"})
    for name in ("content-disposition", "content-type", "cache-control"):
        token = mint(gate, ops=["read"], path="/s/split", response={name: evil})
        assert gate.ask("GET", target("/s/split", token)).code == "key_malformed"
    for name in ("set-cookie", "location", "x-evil", "content-length", "access-control-allow-origin"):
        token = mint(gate, ops=["read"], path="/s/split", response={name: "x"})
        assert gate.ask("GET", target("/s/split", token)).code == "key_malformed"


@pytest.mark.parametrize("octet", [*range(1, 9), *range(10, 32), 127, 0x80, 0x85, 0xA0, 0xFF])
def test_stored_headers_cannot_split(door: Door, gate: Gate, octet: int) -> None:
    """A control character is refused with the head, or is gone from the answer."""
    lines = [f"{name}: a{chr(octet)}b" for name in ("X-Valet-Meta-A", "Content-Language", "Content-Disposition")]
    with door.wire() as wire:
        wire.send(head("PUT", target("/s/ctl", mint(gate, ops=["write"], path="/s/ctl")), "Content-Length: 1", *lines))
        wire.pour(b"x")
        answer = wire.answer()
    if answer.status == 400:
        assert answer.code == "request_malformed"
        return
    with door.wire() as wire:
        wire.send(head("GET", target("/s/ctl", mint(gate, ops=["read"], path="/s/ctl"))))
        raw = wire.answer()
    for name in ("x-valet-meta-a", "content-language", "content-disposition"):
        value = raw.headers[name]
        assert value in {f"a{chr(octet)}b", "ab"}
        assert octet >= 0xA0 or octet == 0x80 or value == "ab"


def test_a_file_name_from_the_command_line(gate: Gate) -> None:
    """`sign --filename` with any name."""
    put(gate, "/s/cli", {"Content-Type": "text/plain"})
    for name in ("отчёт.pdf", 'quote".txt', "new\nline.txt", "a;b.txt"):
        signed = json.loads(gate.cli("sign", "GET", "/s/cli", "--filename", name, "--json"))
        url = signed["url"] if isinstance(signed, dict) else signed
        answer = gate.ask("GET", url)
        assert answer.status == 200
        assert answer.headers["content-disposition"].startswith('attachment; filename="')
        assert "x-evil" not in answer.headers
