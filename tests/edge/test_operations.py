"""Every operation against every key's `ops`, and the order in which a key's faults are told."""

import itertools
import time
from typing import Any, Final

import pytest

from tests.edge.doors import Door, mint, target
from tests.edge.wire import head
from tests.gate import Gate

NEEDS: Final = {
    "GET": "read",
    "HEAD": "read",
    "PUT": "write",
    "DELETE": "delete",
    "LIST": "list",
    "HEAD LIST": "list",
    "GET ADMIN": "read",
    "PUT ADMIN": "admin",
}
OPS: Final = ("read", "write", "delete", "list", "admin")
COMBINATIONS: Final = [ops for count in (1, 2, 5) for ops in itertools.combinations(OPS, count)]


@pytest.mark.parametrize("ops", COMBINATIONS, ids="+".join)
def test_each_operation_needs_its_own_permission(gate: Gate, ops: tuple[str, ...]) -> None:
    """`read` covers GET and HEAD and nothing else, and nothing else covers it; `admin` is never the default."""
    path = "/ops/" + "-".join(ops)
    assert gate.ask("PUT", gate.sign("PUT", path), b"x").status in {200, 201}
    token = mint(gate, ops=list(ops), prefix="/")
    for operation, needed in NEEDS.items():
        method = operation.split()[-1 if operation == "HEAD LIST" else 0]
        wanted = {"LIST": "/ops/?list", "ADMIN": "/_valet/echo/x"}.get(operation.rpartition(" ")[2], path)
        method = {"LIST": "GET"}.get(operation, operation.split()[0])
        answer = gate.ask(method, target(wanted, token), b"y" if method == "PUT" else None)
        # The default profile of a signing key holds everything but admin.
        if needed in ops and needed != "admin":
            assert answer.status < 300, (operation, answer)
            if method == "DELETE":
                assert gate.ask("PUT", gate.sign("PUT", path), b"x").status == 201
        else:
            assert answer.code == "operation_not_allowed", (operation, answer)


@pytest.mark.parametrize("ops", [[], ["everything"], ["read", "everything"], ["READ"], "read", None, [["read"]]])
def test_ops_that_are_not_understood_open_nothing(gate: Gate, ops: Any) -> None:
    """Rather than what is understood of them."""
    assert gate.ask("GET", target("/ops/x", mint(gate, ops=ops, prefix="/ops/"))).code == "key_malformed"


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "OPTIONS"])
def test_other_methods_open_nothing_with_any_key(gate: Gate, method: str) -> None:
    """Not even with a key for everything."""
    token = mint(gate, ops=list(OPS), prefix="/")
    answer = gate.ask(method, target("/ops/x", token))
    assert answer.status in {204, 405}
    assert answer.body == b"" or answer.code == "method_not_allowed"
    assert "GET" in answer.headers["allow"]


def faults(gate: Gate) -> list[tuple[str, dict[str, Any], list[str]]]:
    """In the order that is promised: the code, what it takes in claims, what it takes in header lines."""
    now = int(time.time())
    return [
        ("key_expired", {"exp": now - 100}, []),
        ("key_revoked", {}, []),
        ("operation_not_allowed", {"ops": ["read"]}, []),
        ("path_not_allowed", {"path": "/order/other"}, []),
        ("source_not_allowed", {"ip": "192.0.2.1"}, []),
        ("https_required", {"https": True}, []),
        ("header_required", {"headers": {"x-must": "be"}}, []),
        ("too_large", {"length": [0, 3]}, []),
        ("type_not_allowed", {"type": "image/*"}, []),
        ("key_used", {"uses": 1, "jti": "order", "iat": now - 200}, []),
        ("digest_mismatch", {}, ["Content-MD5: AAAAAAAAAAAAAAAAAAAAAA=="]),
    ]


def test_of_several_faults_the_first_of_the_order_is_told(gate: Gate, door: Door) -> None:
    """Time, revocation, operation, path, source, TLS, headers, length, type, single use, body."""
    gate.cli("keys", "create", "leaving")
    once = mint(gate, ops=["write"], path="/order/x", uses=1, jti="order", iat=int(time.time()) - 200)
    assert gate.ask("PUT", target("/order/x", once), b"x").status == 201
    rows = faults(gate)
    leaving = {code: gate.signer("leaving") for code in ("key_expired", "key_revoked")}
    assert leaving
    tokens = {}
    for index, (code, _, _) in enumerate(rows):
        claims: dict[str, Any] = {"ops": ["write"], "path": "/order/x"}
        for _, more, _ in reversed(rows[index:]):
            claims |= more
        tokens[code] = mint(gate, "leaving" if code in leaving else "default", **claims)
    gate.cli("keys", "retire", "leaving")
    time.sleep(1)
    for code, _, _ in rows:
        with door.wire() as wire:
            wire.send(head("PUT", target("/order/x", tokens[code]), *rows[-1][2], "Content-Length: 4") + b"body")
            assert wire.answer().code == code


def test_shape_comes_before_the_signing_key_and_that_before_time(gate: Gate, door: Door) -> None:
    """What is not well-formed is told first; a wrong signature before anything the key says."""
    expired = mint(gate, ops=["read"], path="/order/x", exp=1)
    forged = expired[:-8] + "AAAAAAAA"
    rows = (
        ("request_malformed", head("GET", target("/order/../x", forged), "Host: b")),
        ("target_invalid", head("GET", target("/order/x#", forged))),
        ("target_invalid", head("GET", target("/order/%zz", forged))),
        ("key_ambiguous", head("GET", target("/order/..", forged) + "&valet=x")),
        ("object_key_invalid", head("GET", target("/order/..", forged))),
        ("key_malformed", head("GET", target("/order/x", forged + ".x"))),
        ("signature_mismatch", head("GET", target("/order/x", forged))),
        ("key_expired", head("GET", target("/order/x", expired))),
    )
    for code, request in rows:
        with door.wire() as wire:
            wire.send(request)
            assert wire.answer().code == code


def test_refusals_burn_no_use(gate: Gate) -> None:
    """404, 412, 416, 304, HEAD and a preflight leave a one-time key as it was; a body burns it."""
    path = "/ops/once"
    token = mint(gate, ops=["read"], path=path, uses=1, jti="burn", iat=int(time.time()))
    assert gate.ask("GET", target(path, token)).status == 404
    etag = gate.ask("PUT", gate.sign("PUT", path), b"once").headers["etag"]
    for method, headers, status in (
        ("HEAD", {}, 200),
        ("GET", {"If-Match": '"x"'}, 412),
        ("GET", {"If-None-Match": etag}, 304),
        ("GET", {"Range": "bytes=9-"}, 416),
        ("OPTIONS", {}, 204),
        ("PUT", {}, 403),
        ("GET", {}, 200),
        ("HEAD", {}, 403),
        ("GET", {}, 403),
    ):
        assert gate.ask(method, target(path, token), headers=headers).status == status


def test_a_single_use_list_is_used_by_one_page(gate: Gate) -> None:
    """GET claims it, HEAD does not."""
    gate.ask("PUT", gate.sign("PUT", "/once/x"), b"x")
    url = gate.sign("LIST", "/once/", uses=1)
    assert gate.ask("HEAD", url).status == 200
    assert gate.ask("GET", url).status == 200
    for method in ("GET", "HEAD"):
        assert gate.ask(method, url).code == "key_used"
