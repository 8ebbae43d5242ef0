"""Verification alone: what judging one native key costs, by algorithm, without any network; then each dialect's keys.

    python -m bench.verify [--quick]

`verify` is `Native.verify`, narrowing by the signing key's profile and `enforce`; `gate` adds what comes before it in
`Gateway.admit`: reading the target and finding the key in it, among all dialects. `met again` is what the memory of
proofs takes for a key that it has. The refused ones are a token of a signing key that is not in the ring, and one whose
signature differs: they must cost alike, or the time tells which keys exist. The second table has rings of many signing
keys, each request by another one; the third is that of dialects.py: a key of each kind beside a native one. Time is
that of the processor: nothing here waits, and what others take of the machine does not count.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from bench import dialects
from bench.dialects import Judge
from bench.kinds import BASE, HEADERS, REGION
from bench.options import Bench, measure, parser
from bench.table import Spread, Table
from valetstore.config import Config
from valetstore.dialects import schemes_of
from valetstore.encoding import b64url_decode, b64url_encode
from valetstore.errors import Denied
from valetstore.grants.claims import Claims
from valetstore.grants.grant import Profile
from valetstore.grants.memory import ProofMemory
from valetstore.grants.native import Native, sign
from valetstore.grants.presign import Request
from valetstore.grants.recognise import recognise
from valetstore.grants.s3.sign import Key, presign_v4
from valetstore.inbound import Inbound
from valetstore.keys.material import ALGORITHMS, PrivateKey, public_pem
from valetstore.keys.ring import KeyRecord, KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import HMAC, S3, new_access_key_id, new_secret_access_key
from valetstore.policy.request import enforce
from valetstore.policy.revocation import RevocationTable

COLUMNS: Final = (
    "algorithm",
    "verify µs",
    "gate µs",
    "met again µs",
    "wrong signature µs",
    "unknown kid µs",
    "unknown/wrong (min-max)",
)
PATH: Final = "/photos/2024/cat.jpg"
PEER: Final = ip_address("203.0.113.7")
NAME: Final = "default"
STRANGER: Final = "unknown"

REMEMBERED: Final = 16
RING_SIZES: Final = (1, 100, 10_000)
ASKED: Final = 1_000

Work = Callable[[Inbound], None]


class Candidate:
    """One token before one ring. Each of its works takes a request that is new, as from the network."""

    def __init__(self, native: Native, keys: KeyRing, token: str) -> None:
        self._schemes = tuple(native if scheme.name == native.name else scheme for scheme in schemes_of(Config()))
        self._native = native
        self._keys = keys
        self._revocations = RevocationTable()
        self._memory = ProofMemory(REMEMBERED)
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
        enforce(proof.grant.narrowed_by(proof.limits), self._intent, request, self._revocations)

    def gate(self, request: Inbound) -> None:
        """The same from the bare request, in the steps of `Gateway.admit`."""
        credential = recognise(request, self._schemes)
        intent = credential.scheme.intent(request)
        proof = credential.scheme.verify(request, credential, self._keys, intent)
        enforce(proof.grant.narrowed_by(proof.limits), intent, request, self._revocations)

    def again(self, request: Inbound) -> None:
        """The proof of a key that was verified before."""
        self._memory.prove(request, self._credential, self._keys, self._intent)

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
    works = [(good, good.verify), (good, good.gate), (good, good.again)]
    works += [(wrong, wrong.refused), (unknown, unknown.refused)]
    spans = _measure(works, rounds=7 if bench.quick else 15, seconds=0.01 if bench.quick else 0.1)
    ratio = Spread.of([unknown / wrong for wrong, unknown in zip(*spans[3:], strict=True)])
    middles = [Spread.of(span) for span in spans]
    names = ("verify_us", "gate_us", "again_us", "wrong_signature_us", "unknown_kid_us")
    table.add(
        title,
        *(f"{spread.middle:.2f}" for spread in middles),
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
    started = time.process_time()
    for request in requests:
        work(request)
    return (time.process_time() - started) / count


def rings(bench: Bench) -> Table:
    """Native and S3 keys, each request signed by another signing key of a larger and larger ring."""
    table = Table(
        "Verification by the number of signing keys", ("signing keys of each kind", "native µs", "S3 V4 URL µs")
    )
    works: list[Callable[[], float]] = []
    for size in RING_SIZES:
        bench.say(f"rings of {size:,} signing keys of each kind")
        works += _rings_works(size)
    spans: list[list[float]] = [[] for _ in works]
    for _ in range(5 if bench.quick else 25):
        for work, span in zip(works, spans, strict=True):
            span.append(work() * 1e6)
    spreads = iter([Spread.of(span) for span in spans])
    for size, (native, s3) in zip(RING_SIZES, zip(spreads, spreads, strict=True), strict=True):
        table.add(f"{size:,}", str(native), str(s3), signing_keys=size, native_us=native, s3_us=s3)
    return table


def _rings_works(size: int) -> list[Callable[[], float]]:
    """A round of each kind: seconds of processor time a key, of ASKED keys by signing keys all over the ring."""
    names = [f"key-{number}" for number in range(size)]
    secrets = {name: new_secret_access_key().encode() for name in names}
    ids = {name: new_access_key_id() for name in names}
    records = [record_of(name, "HS256", Profile(), secret=secrets[name]) for name in names]
    records += [
        record_of(f"s3-{name}", HMAC, Profile(), kid=ids[name], secret=secrets[name], scheme=S3) for name in names
    ]
    judge, now = Judge(KeyRing(records)), int(time.time())
    asked = [names[number * 7919 % size] for number in range(ASKED)]
    tokens = [sign(_claims(), name, "HS256", secrets[name]) for name in asked]
    urls = [
        presign_v4(Key(ids[name], secrets[name]), Request("GET", BASE, PATH), now=now, expires=3600, region=REGION)
        for name in asked
    ]
    targets = [f"{PATH}?valet={token}" for token in tokens], [url.removeprefix(BASE) for url in urls]
    return [partial(_judged, judge, [target.encode() for target in kind]) for kind in targets]


def _judged(judge: Judge, targets: Sequence[bytes]) -> float:
    """Seconds of processor time a key."""
    now = time.time()
    requests = [Inbound("GET", target, HEADERS, now=now, peer=PEER, tls=True) for target in targets]
    started = time.process_time()
    for request in requests:
        judge.admit(request)
    return (time.process_time() - started) / len(targets)


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
    measure(parser(__doc__).parse_args(), [run, rings, dialects.run])
