"""Trusted proxies: whose word counts, and what is made of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import KINDS, Door, mint, opened, target
from tests.edge.wire import Wire, head
from tests.gate import Gate

TRUSTED = '[listen]\ntrusted-proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8:f::/48"]\n'


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """One that believes this machine."""
    with Gate(tmp_path_factory.mktemp("trusting"), TRUSTED) as running:
        yield running
        inspect(running)


def echo(gate: Gate, *lines: str) -> dict[str, Any]:
    """What the gateway makes of these header lines."""
    url = target("/_valet/echo/x", mint(gate, ops=["read"], path="/_valet/echo/x"))
    with Wire(gate.address) as wire:
        wire.send(head("GET", url, *lines))
        facts: dict[str, Any] = wire.answer().json()
        return facts


FORWARDED = {
    "192.0.2.1": "192.0.2.1",
    "198.51.100.9, 192.0.2.1": "192.0.2.1",
    "192.0.2.1, 10.1.1.1": "192.0.2.1",
    "198.51.100.9,192.0.2.1 , 10.1.1.1,\t10.2.2.2": "192.0.2.1",
    "192.0.2.1, 2001:db8:f::7": "192.0.2.1",
    "10.1.1.1, 10.2.2.2": "10.1.1.1",
    "2001:db8::1": "2001:db8::1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "192.0.2.1, ::ffff:10.0.0.1": "192.0.2.1",
    "192.0.2.1:4711": "192.0.2.1",
    "[2001:db8::1]:4711": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    # What cannot be read makes the client unknown, also behind what can.
    "": "",
    "unknown": "",
    "192.0.2.1, unknown": "",
    "192.0.2.1, ": "",
    "192.0.2.1, unknown, 10.0.0.1": "",
    "192.0.2.256": "",
    "192.0.2.01": "",
    "192.0.2.1/32": "",
    "3221225985": "",
    "fe80::1%eth0": "",
    "192.0.2.1;x": "",
    "_hidden": "",
    "\xd9\xa1.2.3.4": "",
}


@pytest.mark.parametrize("said", FORWARDED)
def test_the_client_is_the_right_most_that_nobody_trusts(trusting: Gate, said: str) -> None:
    """Everything to its left was written by whoever."""
    assert echo(trusting, f"X-Forwarded-For: {said}")["address"] == FORWARDED[said]


def test_several_lines_are_one_list(trusting: Gate) -> None:
    """In order (RFC 9110 section 5.3)."""
    assert echo(trusting, "X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 192.0.2.1")["address"] == "192.0.2.1"
    assert echo(trusting)["address"] == "127.0.0.1"


@pytest.mark.parametrize("said", FORWARDED)
def test_an_untrusted_peer_is_not_believed(gate: Gate, said: str) -> None:
    """Whatever it says: address, scheme, host."""
    facts = echo(gate, f"X-Forwarded-For: {said}", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test")
    assert (facts["address"], facts["https"], facts["host"]) == ("127.0.0.1", False, "gate.test")


def test_a_key_bound_to_a_network_opens_for_it_alone(trusting: Gate) -> None:
    """Never because of a header that nobody understands."""
    assert trusting.ask("PUT", trusting.sign("PUT", "/p/x"), b"x").status == 201
    for network, said, status in (
        ("192.0.2.0/24", "192.0.2.1", 200),
        ("192.0.2.0/24", "::ffff:192.0.2.1", 200),
        ("192.0.2.0/24", "192.0.2.1, 198.51.100.1", 403),
        ("192.0.2.0/24", "garbage", 403),
        ("0.0.0.0/0", "garbage", 403),
        ("0.0.0.0/0", "2001:db8::1", 403),
        ("::/0", "192.0.2.1", 403),
        ("2001:db8::/32", "2001:db8::1", 200),
        ("127.0.0.1/32", "garbage", 403),
        ("127.0.0.1/32", "192.0.2.1", 403),
        (["192.0.2.0/24", "198.51.100.1"], "198.51.100.1", 200),
    ):
        url = target("/p/x", mint(trusting, ops=["read"], path="/p/x", ip=network))
        assert trusting.ask("GET", url, headers={"X-Forwarded-For": said}).status == status, (network, said)


def test_the_scheme_is_what_the_last_proxy_says(trusting: Gate, gate: Gate) -> None:
    """`https` keys open behind a proxy that speaks TLS, and not for a client that only says so."""
    for running in (trusting, gate):
        assert running.ask("PUT", running.sign("PUT", "/p/tls"), b"x").status in {200, 201}
        url = target("/p/tls", mint(running, ops=["read"], path="/p/tls", https=True))
        for said, believed in (("https", True), ("HTTPS", True), ("http", False), ("https, http", False), ("", False)):
            answer = running.ask("GET", url, headers={"X-Forwarded-Proto": said})
            assert answer.status == (200 if believed and running is trusting else 403)
            assert ("strict-transport-security" in answer.headers) == (believed and running is trusting)


def test_the_host_is_what_the_last_proxy_says(trusting: Gate) -> None:
    """As long as it is one."""
    assert echo(trusting, "X-Forwarded-Host: files.test:443")["host"] == "files.test:443"
    assert echo(trusting, "X-Forwarded-Host: evil.test, files.test")["host"] == "files.test"
    assert trusting.ask("GET", "/p/x", headers={"X-Forwarded-Host": "a b"}).code == "request_malformed"


def test_trusted_proxies_are_not_counted_by_address(tmp_path: Path) -> None:
    """One address carries all clients."""
    with Gate(tmp_path, TRUSTED + "[limits]\nconnections-per-address-max = 1\n") as gate:
        wires = [Wire(gate.address) for _ in range(5)]
        for wire in wires:
            with wire:
                wire.send(head("GET", "/_valet/live"))
                assert wire.answer().status == 200


@pytest.mark.parametrize("trusts", [True, False])
def test_a_unix_socket_is_trusted_where_the_settings_say_so(tmp_path: Path, trusts: bool) -> None:
    """Without that, its clients have no address, and keys bound to networks do not open."""
    config = '[listen]\ntrusted-proxies = ["unix"]\n' if trusts else ""
    listen = tmp_path / "s"
    with Gate(tmp_path, config, ("--listen", f"unix:{listen}")) as gate:
        url = target("/_valet/echo/x", mint(gate, ops=["read"], path="/_valet/echo/x"))
        bound = target("/_valet/echo/x", mint(gate, ops=["read"], path="/_valet/echo/x", ip="192.0.2.1"))
        lines = ("X-Forwarded-For: 198.51.100.1, 192.0.2.1", "X-Forwarded-Proto: https")
        with Wire(str(listen)) as wire:
            wire.send(head("GET", url, *lines) + head("GET", bound, *lines) + head("GET", bound))
            facts = wire.answer().json()
            assert (facts["address"], facts["https"]) == (("192.0.2.1", True) if trusts else ("", False))
            assert wire.answer().status == (200 if trusts else 403)
            assert wire.answer().status == 403
        inspect(gate)


@pytest.mark.parametrize("kind", KINDS)
def test_paths_and_hosts_arrive_as_they_were_sent(kind: str, tmp_path: Path) -> None:
    """Through every door: encoded slashes, double slashes, plus signs, odd characters, the Host with its port."""
    with opened(kind, tmp_path, {"listen": {"trusted-proxies": ["127.0.0.1"]}}) as door:
        host = f"gate.test:{door.address[1]}"
        for raw, path in (
            ("/_valet/echo/a%2Fb", "/_valet/echo/a/b"),
            ("/_valet/echo/a%2fb//c", "/_valet/echo/a/b//c"),
            ("/_valet/echo/a+b%20c;d=e,f", "/_valet/echo/a+b c;d=e,f"),
            ("/_valet/echo/%C3%A9'(x)!*~$&@:", "/_valet/echo/é'(x)!*~$&@:"),
            ("/_valet/echo/%252e%255C", "/_valet/echo/%2e%5C"),
            ("/_valet/echo/a%3Fb%23c%25", "/_valet/echo/a?b#c%"),
        ):
            facts = asked(door, target(raw, mint(door.gate, ops=["read"], path=path)), host)
            assert (facts["raw_path"], facts["path"], facts["host"]) == (raw, path, host)
            assert facts["address"] == "127.0.0.1"
            assert facts["https"] == (kind == "tls")


def asked(door: Door, url: str, host: str) -> dict[str, Any]:
    """The echo of one request."""
    with door.wire() as wire:
        wire.send(head("GET", url, host=host))
        answer = wire.answer()
        assert answer.status == 200, answer
        facts: dict[str, Any] = answer.json()
        return facts


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_client_behind_a_proxy_cannot_choose_its_address(kind: str, tmp_path: Path) -> None:
    """What it writes is to the left of what the proxy adds."""
    with opened(kind, tmp_path, {"listen": {"trusted-proxies": ["127.0.0.2"]}}) as door:
        # Here the proxy itself is not trusted: its header counts for nothing either.
        url = target("/_valet/echo/x", mint(door.gate, ops=["read"], path="/_valet/echo/x"))
        answer = door.ask("GET", url, headers={"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"})
        assert (answer.json()["address"], answer.json()["https"]) == ("127.0.0.1", False)
