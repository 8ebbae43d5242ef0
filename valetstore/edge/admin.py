"""Revocations over HTTP: make, list, look at, undo. JSON in, JSON out; every one of them needs a key for `admin`.

Rule 1: what is asked for is understood whole or refused: an unknown member might have been a condition.
Rule 2: an answer comes after the change is durable and in force in every worker.
Rule 3: nothing pasted is told back or logged; a key is named by its identity.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from valetstore.edge.exchange import Exchange
from valetstore.edge.receive import ask_for_body, reading
from valetstore.edge.replies import Reply, json_reply
from valetstore.encoding import http_date, strict_json, wire_int
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission, Grant
from valetstore.grants.native import REVOCATIONS_PATH
from valetstore.inbound import Inbound
from valetstore.pasted import prove
from valetstore.policy.bounds import grant_end, key_end
from valetstore.policy.revocation import Kind, Revocation, Revocations
from valetstore.policy.wanted import UNPRINTABLE, check_wanted, moment_of
from valetstore.replay.lease import Lease

BODY_BYTES_MAX: Final = 16_384
BODY_SECONDS_MAX: Final = 10
LIST_ENTRIES_MAX: Final = 1_000
BY_CHARACTERS_MAX: Final = 256

_KIND_OF: Final[Mapping[str, Kind]] = {
    "key": "key",
    "identity": "key",
    "signing_key": "signing-key",
    "subject": "subject",
    "prefix": "prefix",
}
_MEMBERS: Final = (*_KIND_OF, "issued_before", "expires_at", "reason")

OnAdmitted = Callable[[str], None]
"""Called with what is about to be done, for the audit."""

_Operation = Callable[["Admin", Exchange, Admission, OnAdmitted], Awaitable[Reply]]


class Admin:
    """Answers admitted requests for REVOCATIONS_PATH and what lies below it."""

    def __init__(self, gateway: Gateway, revocations: Revocations, clock: Callable[[], float] = time.time) -> None:
        self._gateway = gateway
        self._revocations = revocations
        self._clock = clock

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        """The reply to an admitted request. `on_admitted` is called once only the disk can refuse it."""
        entry_id = _entry_id(admission.intent.path)
        operations = _ON_ONE if entry_id else _ON_ALL
        operation = operations.get(admission.inbound.method)
        if operation is None:
            allow = ", ".join(operations)
            raise Denied("method_not_allowed", f"Allowed are {allow}.", allow=allow)
        return await operation(self, exchange, admission, on_admitted)

    async def _add(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        async with Lease(self._gateway.replay, admission.use, self._clock) as lease:
            wanted = self._wanted(json_object(await small_body(exchange, admission.inbound)), admission)
            on_admitted(f"revokes {_in_words(wanted)}")
            await lease.committing()
            self._gateway.recheck(admission, self._clock())
            entry, is_new = await self._revocations.add(wanted)
            await lease.commit()
        reply = json_reply(shown(entry), 201 if is_new else 200)
        reply.headers.append(("Location", f"{REVOCATIONS_PATH}/{entry.id}"))
        return reply

    async def _list(self, _exchange: Exchange, admission: Admission, _on_admitted: OnAdmitted) -> Reply:
        inbound = admission.inbound
        limit, after = _limit(inbound.parameter("limit")), inbound.parameter("after") or ""
        try:
            found = self._revocations.table.page(after, limit + 1)
        except ValueError:
            raise Denied("parameter_invalid", "`after` is the id of a revocation.") from None
        await self._gateway.claim(admission, self._clock)
        following = found[limit - 1].id if len(found) > limit else None
        return json_reply({"revocations": [shown(entry) for entry in found[:limit]], "next": following})

    async def _get(self, _exchange: Exchange, admission: Admission, _on_admitted: OnAdmitted) -> Reply:
        entry = self._entry(admission)
        await self._gateway.claim(admission, self._clock)
        return json_reply(shown(entry))

    async def _undo(self, _exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        async with Lease(self._gateway.replay, admission.use, self._clock) as lease:
            entry = self._entry(admission)
            await lease.committing()
            self._gateway.recheck(admission, self._clock())
            on_admitted(f"takes back {entry.id}, which revoked {_in_words(entry)}")
            if not await self._revocations.undo(entry.id):
                raise _unknown()
            await lease.commit()
        return Reply(204)

    def _entry(self, admission: Admission) -> Revocation:
        entry = self._revocations.table.get(_entry_id(admission.intent.path))
        if entry is None:
            raise _unknown()
        return entry

    def _wanted(self, given: Mapping[str, object], admission: Admission) -> Revocation:
        """What a request asks to revoke. Raises `parameter_invalid` that names the member."""
        _check_members(given)
        (member,) = (name for name in _KIND_OF if name in given)
        kind, value = _KIND_OF[member], _text(given, member)
        expires_at = _moment(given, "expires_at")
        if expires_at is not None:
            expires_at = key_end(expires_at)
        if member == "key":
            if expires_at is not None:
                raise _invalid("`expires_at` is only for `identity`: a key says itself when it ends.")
            grant = self._proven(value)
            value, expires_at = grant.identity.hex(), grant_end(grant)
        elif member == "identity":
            value = value.lower()
        elif member == "signing_key" and self._gateway.keys.named(value) is None:
            raise _invalid("`signing_key`: there is none of that name.")
        wanted = Revocation(
            "",
            kind,
            value,
            _moment(given, "issued_before"),
            expires_at,
            reason=_text(given, "reason") if "reason" in given else "",
            by=who(admission.grant),
        )
        check_wanted(wanted, self._clock())
        return wanted

    def _proven(self, pasted: str) -> Grant:
        now = self._clock()
        try:
            grant = prove(pasted, self._gateway.schemes, self._gateway.keys, now).grant
        except Denied as denied:
            # Not its own code: the key that does not hold is not the one the request came with.
            raise Denied("parameter_invalid", f"`key`: {denied.text}", key=denied.code, **denied.evidence) from None
        if grant_end(grant) <= now:
            ended = http_date(int(grant.not_after))
            raise _invalid(f"`key` has expired by itself ({ended}); there is nothing left to revoke.")
        return grant


_ON_ALL: Final[Mapping[str, _Operation]] = {"GET": Admin._list, "HEAD": Admin._list, "POST": Admin._add}
_ON_ONE: Final[Mapping[str, _Operation]] = {"GET": Admin._get, "HEAD": Admin._get, "DELETE": Admin._undo}


def shown(entry: Revocation) -> dict[str, object]:
    """An entry as JSON shows it; times are seconds since the epoch, as a request may give them."""
    return {
        "id": entry.id,
        "kind": entry.kind,
        "value": entry.value,
        "issued_before": entry.issued_before,
        "expires_at": entry.expires_at,
        "created_at": entry.created_at,
        "reason": entry.reason,
        "by": entry.by,
    }


async def small_body(exchange: Exchange, inbound: Inbound) -> bytes:
    """A body of at most BODY_BYTES_MAX, within BODY_SECONDS_MAX; counts `exchange.bytes_in`.

    Raises `too_large`, `request_timeout`, `request_malformed`, and ConnectionError where the client went away.
    """
    too_large = Denied("too_large", f"At most {BODY_BYTES_MAX} bytes.")
    announced = inbound.header("content-length")
    if announced is not None and announced.isdecimal() and int(announced[:20]) > BODY_BYTES_MAX:
        raise too_large
    ask_for_body(exchange, inbound)
    body = b""
    with reading(exchange):
        async with asyncio.timeout(BODY_SECONDS_MAX):
            while data := await exchange.body.readany():
                exchange.bytes_in += len(data)
                body += data
                if len(body) > BODY_BYTES_MAX:
                    raise too_large
    return body


def json_object(body: bytes) -> Mapping[str, object]:
    """A body that is one JSON object. Raises `parameter_invalid`."""
    try:
        found = strict_json(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _invalid("The body is not one JSON object with each member once.")
    return found


def _in_words(entry: Revocation) -> str:
    before = "" if entry.issued_before is None else f" issued before {http_date(int(entry.issued_before))}"
    return f"{entry.kind} {entry.value}{before}"


def _entry_id(path: str) -> str:
    """What comes after the slash; "" where all are meant."""
    return path.removeprefix(REVOCATIONS_PATH).removeprefix("/")


def _check_members(given: Mapping[str, object]) -> None:
    unknown = [repr(name[:40]) for name in given if name not in _MEMBERS]
    if unknown:
        raise _invalid(f"Not known: {', '.join(unknown[:5])}. Allowed are {', '.join(_MEMBERS)}.")
    if sum(name in given for name in _KIND_OF) != 1:
        raise _invalid(f"Give exactly one of {', '.join(_KIND_OF)}.")


def _text(given: Mapping[str, object], name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise _invalid(f"`{name}` is a text.")
    return value


def _moment(given: Mapping[str, object], name: str) -> float | None:
    """A time as seconds since the epoch or an RFC 3339 date; None where it is absent or null."""
    value = given.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return moment_of(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise _invalid(f"`{name}` is seconds since the epoch or a date with a zone, as 2026-11-21T16:00:00Z.")


def _limit(text: str | None) -> int:
    try:
        limit = LIST_ENTRIES_MAX if text is None else wire_int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise _invalid(f"`limit` is a number from 1 to {LIST_ENTRIES_MAX}.")
    return min(limit, LIST_ENTRIES_MAX)


def who(grant: Grant) -> str:
    """Whose key it is, for the operator: the signing key and, where the key names one, its subject."""
    who = f"{grant.signing_key} ({grant.subject})" if grant.subject else grant.signing_key
    return UNPRINTABLE.sub("?", who)[:BY_CHARACTERS_MAX]


def _unknown() -> Denied:
    return Denied("not_found", "No revocation has this id.")


def _invalid(detail: str) -> Denied:
    return Denied("parameter_invalid", detail)
