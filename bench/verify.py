"""Verification alone: what judging one native key costs, by algorithm, without any network; then each dialect's keys.

    python -m bench.verify [--quick]

`verify` is `Native.verify`, narrowing by the signing key's profile and `enforce`; `gate` adds what comes before it in
`Gateway.admit`: reading the target and finding the key in it. The refused ones are a token of a signing key
that is not in the ring, and one whose signature differs: they must cost alike, or the time tells which keys exist.
The second table is that of dialects.py: a key of each kind beside a native one.
"""

import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from bench import dialects
from bench.options import Bench, measure, parser
from bench.table import Spread, Table
from valetstore.encoding import b64url_decode, b64url_encode
from valetstore.errors import Denied
from valetstore.grants.native import Claims, Native, sign
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.material import ALGORITHMS, PrivateKey, public_pem
from valetstore.keys.ring import KeyRecord, KeyRing
from valetstore.policy.request import enforce

COLUMNS: Final = (
    "algorithm",
    "verify µs",
    "gate µs",
    "wrong signature µs",
    "unknown kid µs",
    "unknown/wrong (min-max)",
)
PATH: Final = "/photos/2024/cat.jpg"
PEER: Final = ip_address("203.0.113.7")
NAME: Final = "default"
STRANGER: Final = "unknown"

Work = Callable[[Inbound], None]


class Candidate:
    """One token before one ring. Each of its works takes a request that is new, as from the network."""

    def __init__(self, native: Native, keys: KeyRing, token: str) -> None:
        self._native = native
        self._keys = keys
        self._target = f"{PATH}?valet={token}".encode()
        request = self.request()
        self._credential = recognise(request, [native])
        self._intent = native.intent(request)

    def request(self) -> Inbound:
        """A request with the token; views of it (path, query, headers) are made when first asked for."""
        headers = ((b"Host", b"files.example.org"), (b"User-Agent", b"bench"), (b"Accept", b"*/*"))
        return Inbound("GET", self._target, headers, now=time.time(), peer=PEER)

    def verify(self, request: Inbound) -> None:
        """Verify, narrow, enforce."""
        proof = self._native.verify(request, self._credential, self._keys)
        enforce(proof.grant.narrowed_by(proof.limits), self._intent, request)

    def gate(self, request: Inbound) -> None:
        """The same from the bare request, in the steps of `Gateway.admit`."""
        credential = recognise(request, [self._native])
        intent = self._native.intent(request)
        proof = self._native.verify(request, credential, self._keys)
        enforce(proof.grant.narrowed_by(proof.limits), intent, request)

    def refused(self, request: Inbound) -> None:
        """`verify` that must refuse."""
        try:
            self._native.verify(request, self._credential, self._keys)
        except Denied as denied:
            if denied.code == "signature_mismatch":
                return
        raise AssertionError("the key was not refused as one with a wrong signature")


def run(bench: Bench) -> Table:
    """Each algorithm with the key that `keys create` makes, and RSA keys of other sizes, as they may be imported."""
    table = Table("Verification of one native key", COLUMNS)
    for name, algorithm in ALGORITHMS.items():
        bench.say(f"verify {name}")
        _row(bench, table, name, name, algorithm.generate())
    for bits in (2048, 4096):
        bench.say(f"verify RS256 with {bits} bits")
        private = rsa.generate_private_key(65537, bits)
        _row(bench, table, f"RS256, {bits} bits (imported)", "RS256", private)
    return table


def _row(bench: Bench, table: Table, title: str, algorithm: str, material: bytes | PrivateKey) -> None:
    native, keys = Native(skew=10), KeyRing([_record(algorithm, material)])
    token, stranger = (sign(_claims(), kid, algorithm, material) for kid in (NAME, STRANGER))
    good, wrong, unknown = (Candidate(native, keys, text) for text in (token, _spoiled(token), stranger))
    unknown.refused(unknown.request())  # the first of its kind makes the stand-in key, which is not measured
    works = [(good, good.verify), (good, good.gate), (wrong, wrong.refused), (unknown, unknown.refused)]
    spans = _measure(works, rounds=7 if bench.quick else 15, seconds=0.01 if bench.quick else 0.1)
    ratio = Spread.of([unknown / wrong for wrong, unknown in zip(spans[2], spans[3], strict=True)])
    middles = [Spread.of(span) for span in spans]
    names = ("verify_us", "gate_us", "wrong_signature_us", "unknown_kid_us")
    table.add(
        title,
        *(f"{spread.middle:.1f}" for spread in middles),
        str(ratio),
        algorithm=title,
        **dict(zip(names, middles, strict=True)),
        unknown_to_wrong=ratio,
    )


def _measure(works: Sequence[tuple[Candidate, Work]], rounds: int, seconds: float) -> list[list[float]]:
    """Microseconds a call: a figure for each round and work; all works take turns within a round."""
    counts = [max(10, int(seconds / _time(candidate, work, 20))) for candidate, work in works]
    spans: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for (candidate, work), count, span in zip(works, counts, spans, strict=True):
            span.append(_time(candidate, work, count) * 1e6)
    return spans


def _time(candidate: Candidate, work: Work, count: int) -> float:
    """Seconds a call."""
    requests = [candidate.request() for _ in range(count)]
    started = time.perf_counter()
    for request in requests:
        work(request)
    return (time.perf_counter() - started) / count


def _claims() -> Claims:
    now = int(time.time())
    return Claims(exp=now + 3600, iat=now, ops=["read"], path=PATH, sub="user-4711")


def _record(algorithm: str, material: bytes | PrivateKey) -> KeyRecord:
    if isinstance(material, bytes):
        secret, public = b64url_encode(material).decode(), None
    else:
        secret, public = None, public_pem(material)
    return KeyRecord("id", NAME, NAME, algorithm, int(time.time()), secret=secret, public_key=public)


def _spoiled(token: str) -> str:
    """The same token with another signature of the same form."""
    signed, _, signature = token.rpartition(".")
    raw = b64url_decode(signature.encode())
    return f"{signed}.{b64url_encode(raw[:20] + bytes([raw[20] ^ 1]) + raw[21:]).decode()}"


if __name__ == "__main__":
    measure(parser(__doc__).parse_args(), [run, dialects.run])
