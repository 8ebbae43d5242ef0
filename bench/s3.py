"""S3's keys beside native ones: what verifying one costs, and what presigned downloads and uploads run at.

    python -m bench.s3 [--quick]

`verify` is without a network: recognising the key, reading what is asked for, the signature, the profile, as
`Gateway.admit` does it, for one key after the other in turns, so that the ratios are of one run. Each request is new,
as from the network; of what is the same in all of them (a day's signing key) whatever is kept is used.
`rates` asks one gateway for the same objects with URLs of each kind, in turns.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.duel import Case, Side, duel
from bench.gateway import EXPIRES_SECONDS, REGION, Gateway
from bench.load import Job, Load
from bench.options import Bench, measure, parser
from bench.table import Spread, Table, size_text
from valetstore.errors import Denied
from valetstore.grants.grant import Profile
from valetstore.grants.native import Claims, Native, sign
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import S3, Rules
from valetstore.grants.s3.sign import Condition, Form, Key, Request, post_form, presign_v2, presign_v4
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import HMAC, new_access_key_id, new_secret_access_key
from valetstore.keys.vendor import S3 as SCHEME
from valetstore.policy.request import enforce

HOST: Final = "files.example.org"
BUCKET: Final = "photos"
NAME: Final = "2024/cat.jpg"
PATH: Final = f"/{BUCKET}/{NAME}"
HEADERS: Final = ((b"Host", HOST.encode()), (b"User-Agent", b"bench"), (b"Accept", b"*/*"))
FORM_HEADERS: Final = (*HEADERS, (b"Content-Type", b"multipart/form-data; boundary=bench"))

VERIFY_COLUMNS: Final = ("key", "µs each (min-max)", "a second", "to native (min-max)", "refused µs")
RATE_COLUMNS: Final = (
    "what",
    "connections",
    "presigned",
    "native",
    "ratio (min-max)",
    "p99 ms",
    "CPU a request",
    "CPU, native",
)
RATE_CASES: Final = (("GET", 2**10, 1), ("GET", 2**10, 32), ("PUT", 2**10, 1), ("PUT", 2**10, 32))
NEW_PER_SECOND: Final = 5_000
"""How many names are made for each second of a round of uploads; one that runs out of them ends early."""

Make = Callable[[], Inbound]


class Judge:
    """The gate of one ring, without what waits for others: no replay set, no revocations, no budgets."""

    def __init__(self, keys: KeyRing) -> None:
        self._schemes = (Native(skew=10), S3(Rules(region=REGION)))
        self._keys = keys

    def admit(self, request: Inbound) -> None:
        """What `Gateway.admit` does until the use is looked at."""
        credential = recognise(request, self._schemes)
        intent = credential.scheme.intent(request)
        proof = credential.scheme.verify(request, credential, self._keys)
        enforce(proof.grant.narrowed_by(proof.limits), intent, request)

    def refuse(self, request: Inbound) -> None:
        """The same for a key that must not hold."""
        try:
            self.admit(request)
        except Denied as denied:
            if denied.code == "signature_mismatch":
                return
        raise AssertionError("the key was not refused as one with a wrong signature")


def verify(bench: Bench) -> Table:
    """A native URL, then S3's kinds, in turns."""
    table = Table("Verification of one key of each kind", VERIFY_COLUMNS)
    bench.say("verify native, V4, V2, POST")
    native, s3 = new_access_key_id().encode() * 2, Key(new_access_key_id(), new_secret_access_key().encode())
    stranger = s3._replace(secret=new_secret_access_key().encode())
    judge = Judge(
        KeyRing(
            [
                record_of("native", "HS256", Profile(), secret=native),
                record_of("s3", HMAC, Profile(), kid=s3.access_key_id, secret=s3.secret, scheme=SCHEME),
            ]
        )
    )
    goods, bads = _requests(native, s3), _requests(native[::-1], stranger)
    works = [partial(_time, make, judge.admit) for make in goods.values()]
    works += [partial(_time, make, judge.refuse) for make in bads.values()]
    rounds, seconds = (7, 0.01) if bench.quick else (15, 0.1)
    counts = [max(10, int(seconds / work(20))) for work in works]
    spans: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times, span in zip(works, counts, spans, strict=True):
            span.append(work(times) * 1e6)
    for number, name in enumerate(goods):
        good, bad = spans[number], Spread.of(spans[len(goods) + number])
        each, ratio = Spread.of(good), Spread.of([one / two for one, two in zip(good, spans[0], strict=True)])
        per_second = 1e6 / each.middle
        table.add(
            name,
            f"{each.middle:.1f} ({each.least:.1f}-{each.most:.1f})",
            f"{per_second:,.0f}",
            str(ratio),
            f"{bad.middle:.1f}",
            key=name,
            us=each,
            per_second=per_second,
            to_native=ratio,
            refused_us=bad,
        )
    return table


def _requests(native: bytes, s3: Key) -> dict[str, Make]:
    """A download by each kind of URL, and a form; whoever calls gets a new request with the same key."""
    now = int(time.time())
    token = sign(Claims(exp=now + EXPIRES_SECONDS, iat=now, ops=["read"], path=PATH), "native", "HS256", native)
    asked = Request("GET", f"https://{HOST}", PATH)
    v4 = presign_v4(s3, asked, now=now, expires=EXPIRES_SECONDS, region=REGION)
    v2 = presign_v2(s3, asked, expires_at=now + EXPIRES_SECONDS)
    kinds = {"V4 URL": v4, "V2 URL": v2}
    made: dict[str, Make] = {"native URL (HS256)": partial(_download, f"{PATH}?valet={token}")}
    made |= {name: partial(_download, url.removeprefix(asked.base_url)) for name, url in kinds.items()}
    for name, region in (("V4", REGION), ("V2", "")):
        rows: list[Condition] = [["content-length-range", 1, 10 * 2**20], ["starts-with", "$Content-Type", "image/"]]
        form = post_form(
            s3,
            asked.base_url,
            BUCKET,
            NAME,
            now=now,
            expires=EXPIRES_SECONDS,
            region=region,
            conditions=rows,
            fields={"Content-Type": "image/jpeg"},
        )
        made[f"POST policy {name}, 5 conditions"] = partial(_upload, form)
    return made


def _download(target: str) -> Inbound:
    return Inbound("GET", target.encode(), HEADERS, now=time.time())


def _upload(form: Form) -> Inbound:
    fields = (*((name.lower(), value) for name, value in form.fields.items()), ("file", "cat.jpg"))
    return Inbound("POST", f"/{BUCKET}".encode(), FORM_HEADERS, now=time.time(), form=fields)


def _time(make: Make, work: Callable[[Inbound], None], times: int) -> float:
    """Seconds a call."""
    requests = [make() for _ in range(times)]
    started = time.perf_counter()
    for request in requests:
        work(request)
    return (time.perf_counter() - started) / times


def rates(bench: Bench) -> Table:
    """Presigned requests beside native ones, at one gateway."""
    table = Table("Presigned requests beside native ones", RATE_COLUMNS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="valetstore-bench-", dir=bench.folder)))
        gateway = stack.enter_context(Gateway(folder / "gateway"))
        gateway.make_s3_key()
        load = stack.enter_context(Load())
        target = gateway.target("PUT", "/bench/x")
        put = Job(gateway.host, gateway.port, "PUT", [target], [201], 0, body_bytes=2**10, requests=1, whole=True)
        load.run(put)
        for method, size, connections in RATE_CASES:
            for name, sign_target in (("V4", gateway.v4_target), ("V2", gateway.v2_target)):
                case = Case(f"{method} {size_text(size)}, {name}", size, connections)
                bench.say(f"{case.title}, connections: {connections}")
                numbers = count()
                presigned = Side(gateway, partial(_job, gateway, case, method, sign_target, numbers))
                native = Side(gateway, partial(_job, gateway, case, method, gateway.target, numbers))
                duel(load, case, presigned, native, bench.rounds, bench.seconds)
                _add(table, case, presigned, native)
    return table


def _job(
    gateway: Gateway,
    case: Case,
    method: str,
    sign_target: Callable[[str, str], str],
    numbers: Iterator[int],
    seconds: float,
) -> Job:
    """The work of a round: one download over and over, or new objects with a URL each."""
    if method == "GET":
        targets = [sign_target(method, "/bench/x")]
        return Job(gateway.host, gateway.port, method, targets, [200], seconds, case.connections)
    targets = [sign_target(method, f"/bench/new-{next(numbers)}") for _ in range(int(NEW_PER_SECOND * seconds))]
    return Job(
        gateway.host,
        gateway.port,
        method,
        targets,
        [200, 201],
        seconds,
        case.connections,
        body_bytes=case.size,
        once=True,
        whole=True,
    )


def _add(table: Table, case: Case, presigned: Side, native: Side) -> None:
    """What came of a duel of the two."""
    sides = (presigned, native)
    speeds = [[case.rate(outcome) for outcome in side.outcomes] for side in sides]
    ratio = Spread.of([one / two for one, two in zip(*speeds, strict=True)])
    costs = [sum(side.cpu_seconds) / sum(outcome.requests for outcome in side.outcomes) for side in sides]
    p99 = Spread.of([outcome.p99_ms for outcome in presigned.outcomes])
    middles = [Spread.of(speed) for speed in speeds]
    table.add(
        case.title,
        str(case.connections),
        *(f"{middle.middle:,.0f} /s" for middle in middles),
        str(ratio),
        f"{p99.middle:.1f}",
        *(f"{cost * 1e6:,.0f} µs" for cost in costs),
        case=case,
        requests_per_second=middles[0],
        native_requests_per_second=middles[1],
        ratio=ratio,
        p99_ms=p99,
        cpu_seconds_per_request=costs[0],
        native_cpu_seconds_per_request=costs[1],
    )


if __name__ == "__main__":
    measure(parser(__doc__).parse_args(), [verify, rates])
