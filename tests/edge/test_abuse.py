"""What a bearer of a small key, or of none, could do to everybody else: bounded, told, and kept apart."""

import base64
import os
import time
from pathlib import Path

import pytest

from tests.edge.doors import mint, opened, target
from tests.gate import Gate
from valetstore.edge.cors import _matches


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "https://a", True),
        ("https://a", "https://a", True),
        ("https://a", "https://ab", False),
        ("https://*.example.org", "https://x.example.org", True),
        ("https://*.example.org", "https://example.org", False),
        ("https://*.example.org", "https://x.example.org.evil", False),
        ("https://*-*.example.org", "https://a-b.example.org", True),
        ("https://*-*.example.org", "https://ab.example.org", False),
        ("a*a", "a", False),
        ("*ab*ab", "ab", False),
        ("*ab*ab", "abab", True),
    ],
)
def test_a_star_stands_for_any_characters(pattern: str, text: str, fits: bool) -> None:
    assert _matches(pattern, text) is fits


def test_no_header_and_no_path_makes_the_others_wait(tmp_path: Path) -> None:
    """Texts that made a backtracking pattern look at each character again and again, in one request each."""
    with opened("http", tmp_path) as door:
        gate = door.gate
        put = {"Content-Digest": "a" + " " * 14_990 + "a"}
        started = time.monotonic()
        assert door.ask("PUT", gate.sign("PUT", "/b/x"), b"x", put).code == "parameter_invalid"
        assert door.ask("PUT", gate.sign("PUT", "/b/x"), b"x", {"Content-Digest": "a" * 15_000}).status == 400
        for run in ("eyJ" * 5_000, "a." * 7_000, "-" * 15_000):
            assert door.ask("GET", f"/b/{run}").code == "key_missing"
        # Each took seconds, or a tenth of one for each of many; together they now take far less than one did.
        assert time.monotonic() - started < 2


def test_stars_in_an_origin_rule_cost_little(tmp_path: Path) -> None:
    config = '[[cors]]\norigins = ["https://*-*.*.*.example.org"]\n'
    folder = tmp_path / "gate"
    folder.mkdir()
    with Gate(folder, config) as gate:
        started = time.monotonic()
        gate.ask("GET", "/b/x", headers={"Origin": "https://" + "-." * 7_000})
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("head", ['{"alg":"HS256","kid":"default"}', '{ "alg":"HS256","kid":"default"}'])
@pytest.mark.parametrize("before", ["/b/", "/b/%ff/", "/b/%65", "/b/x."])
def test_a_key_in_a_path_is_not_audited(gate: Gate, head: str, before: str) -> None:
    parts = [head.encode(), b'{"exp":1893456000,"ops":["read"]}', os.urandom(32)]
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    gate.ask("GET", before + token)
    gate.ask("GET", before + "".join(f"%{ord(character):02x}" for character in token))
    gate.audit()
    assert token[-43:] not in (gate.data / "audit.log").read_text()


def test_metrics_requests_leave_no_trace_of_a_key(tmp_path: Path) -> None:
    from tests.gate import free_port

    folder = tmp_path / "gate"
    folder.mkdir()
    port = free_port()
    with Gate(folder, args=("--metrics", f"127.0.0.1:{port}")) as gate:
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?valet=topsecret") as answer:
            assert b"valetstore_decisions_total" in answer.read()
        assert "topsecret" not in gate.log
        assert gate.log.count("\n") == 1


def test_a_forged_attribute_is_no_header(tmp_path: Path) -> None:
    """Whoever may write a bucket's files may write their attributes: what could not have come from here is ignored."""
    import msgspec

    media = tmp_path / "media"
    media.mkdir()
    with opened("http", tmp_path, {"buckets.m": {"root": str(media), "layout": "files"}}) as door:
        file = media / "x.txt"
        file.write_bytes(b"text")
        state = file.stat()
        honest = {"v": 1, "size": 4, "mtime_ns": state.st_mtime_ns, "etag": '"a-v"'}
        forged: list[dict[str, object]] = [
            {"etag": '"a"\r\nInjected: 1'},
            {"user": {"a\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nX": "b"}},
            {"user": {"a": "b\r\nInjected: 1"}},
            {"headers": {"evil": "x"}},
            {"content_type": "text/plain\nInjected: 1"},
        ]
        for change in forged:
            os.setxattr(file, "user.valetstore", msgspec.msgpack.encode(honest | change))
            answer = door.ask("GET", target("/m/x.txt", mint(door.gate, path="/m/x.txt", ops=["read"])))
            assert (answer.status, answer.body) == (200, b"text")
            assert "injected" not in answer.headers
            assert answer.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("mtime", [10**12, -(10**11)])
def test_a_file_from_another_age_is_served_and_listed(tmp_path: Path, mtime: int) -> None:
    root = Path("/dev/shm")
    if not os.access(root, os.W_OK):
        pytest.skip("needs a tmpfs at /dev/shm, whose files have any time")
    media = root / f"valetstore-{os.getpid()}-{mtime}"
    media.mkdir()
    try:
        file = media / "x"
        file.write_bytes(b"old")
        os.utime(file, (mtime, mtime))
        with opened("http", tmp_path, {"buckets.m": {"root": str(media), "layout": "files"}}) as door:
            assert door.ask("GET", door.gate.sign("GET", "/m/x")).body == b"old"
            listed = door.ask("GET", door.gate.sign("LIST", "/m/")).json()
            assert [row["name"] for row in listed["objects"]] == ["x"]
    finally:
        for left in sorted(media.rglob("*"), reverse=True):
            left.rmdir() if left.is_dir() else left.unlink()
        media.rmdir()
