"""Story: what is told about one exchange, to the audit and the metrics.

Rule 1: every request has exactly one decision line, the moment it is known; one that moved bytes has a
transfer line when it is over. Neither ever holds a key or a query.
Rule 2: telling never waits and never fails.
"""

import re
import time
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec

from valetstore.audit import Audit, AuditEvent, rfc3339
from valetstore.edge.exchange import Exchange
from valetstore.errors import Denied
from valetstore.gateway import describe
from valetstore.grants.grant import Admission, Grant, Intent
from valetstore.inbound import Inbound
from valetstore.metrics import CONNECTION_LOST, Metrics
from valetstore.redact import MASK, redact

# A whole native key: a confused client puts one into a path. Less than that can be somebody's file name. The
# run is taken whole, whether or not the rest follows: so no text is looked at twice.
_RUN: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*", re.ASCII)
# Whatever a credential needs to be recognised by `redact`; most user agents have nothing of it.
_SUSPECT: Final = re.compile(
    r"eyJ|[=?]|%3d|bearer|sharedkey|aws|['\"]|valet1\.|x-(?:amz|goog|auth|valet)-", re.IGNORECASE
)
# What a signed URL or a session token has, and hardly a file: a client has escaped the `?` before them.
_KEYED: Final = re.compile(r"(?:signature|sig|upload_id)(?:=|%3d)|x-amz-security-token|valet1\.")
_MARKED: Final = re.compile(r"=|%3d|x-amz-security-token|valet1\.")
"""One of them is in whatever _KEYED finds: most paths have none, and need no search."""

_KNOWN = ("dialect", "operation", "signing_key", "key_identity", "subject", "ctx")


class Story:
    """One exchange's lines. `request_id` is what X-Request-Id says."""

    def __init__(self, audit: Audit, metrics: Metrics, exchange: Exchange, request_id: str) -> None:
        self._audit = audit
        self._metrics = metrics
        self._exchange = exchange
        self.request_id = request_id
        self.admission: Admission | None = None
        self._inbound: Inbound | None = None
        self._about: dict[str, Any] = {}  # of _KNOWN, as an AuditEvent has them
        self._known: AuditEvent | None = None  # what all its lines say, as far as it is known now
        self._code = ""
        self._reason = ""
        self._decision: Literal["admitted", "refused", ""] = ""

    def arrived(self, inbound: Inbound) -> None:
        """The request has a shape."""
        self._inbound = inbound
        self._known = None

    def learned(self, admission: Admission) -> None:
        """A key was proven and covers the request."""
        self.admission = admission
        self.proven(admission.intent, admission.grant)

    def proven(self, intent: Intent, grant: Grant) -> None:
        """A key was proven."""
        self._about = describe(grant, intent)
        self._known = None

    def admitted(self, reason: str = "") -> None:
        """The decision: the request is served; `reason` says what is done where the operation alone does not."""
        if not self._decision:
            self._reason = reason
            self._decide("admitted")

    def refused(self, denied: Denied) -> None:
        """The decision: it is not; or, after it was admitted, what came of it."""
        for name in _KNOWN:
            if denied.evidence.get(name):
                found = denied.evidence[name]
                self._about.setdefault(name, found if name == "ctx" else str(found))
        self._known = None
        self._code = denied.code
        self._reason = _reason(denied)
        if not self._decision:
            self._decide("refused")

    def cut(self, error: BaseException) -> None:
        """The exchange was broken off: by a fault with the answer half out, or because the client is gone."""
        if isinstance(error, Denied):
            self._code, self._reason = error.code, _reason(error)
        elif not self._code:
            self._code = CONNECTION_LOST if isinstance(error, ConnectionError) else "internal_error"
            self._reason = str(error)

    def over(self) -> None:
        """The exchange is over: a transfer line where bytes were moved, and the figures."""
        exchange = self._exchange
        took = time.monotonic() - exchange.started
        dialect, operation = self._kind
        first_byte = None if exchange.head_sent_at is None else exchange.head_sent_at - exchange.started
        self._metrics.ended(operation, took, first_byte, received=exchange.bytes_in, sent=exchange.bytes_out)
        if self._decision == "admitted" and self._code:
            self._metrics.failed(dialect, operation, self._code)
        if self._decision == "admitted" and (operation == "write" or exchange.bytes_in or exchange.bytes_out):
            event = self._event("transfer")
            event.bytes = exchange.bytes_in or exchange.bytes_out
            event.duration_ms = round(took * 1000, 3)
            event.status = exchange.status or None
            self._audit.write(event)

    def retell(self, moment: str, request_id: str, duration_ms: float) -> list[AuditEvent]:
        """What was told of an exchange that went well, of another one that is the same but for these."""
        decision = self._event("decision")
        decision.decision = "admitted"
        events = [decision]
        exchange = self._exchange
        if exchange.bytes_in or exchange.bytes_out:
            transfer = self._event("transfer")
            transfer.bytes = exchange.bytes_in or exchange.bytes_out
            transfer.duration_ms = duration_ms
            transfer.status = exchange.status
            events.append(transfer)
        for event in events:
            event.time, event.request_id = moment, request_id
        return events

    def _decide(self, decision: Literal["admitted", "refused"]) -> None:
        self._decision = decision
        self._metrics.decided(*self._kind, self._code or "ok")
        event = self._event("decision")
        event.decision = decision
        self._audit.write(event)

    @property
    def _kind(self) -> tuple[str, str]:
        """Dialect and operation, "" where they are not known."""
        return self._about.get("dialect", ""), self._about.get("operation", "")

    def _event(self, kind: Literal["decision", "transfer"]) -> AuditEvent:
        if self._known is None:
            self._known = self._all_that_is_known()
        now = rfc3339(time.time())
        return msgspec.structs.replace(self._known, time=now, event=kind, code=self._code, reason=self._reason)

    def _all_that_is_known(self) -> AuditEvent:
        return AuditEvent(
            time="",
            request_id=self.request_id,
            event="decision",
            method=self._exchange.message.method,
            object=self._object(),
            address=self._address(),
            user_agent=_harmless(self._exchange.message.headers.get("User-Agent", "")),
            **self._about,
        )

    def _address(self) -> str:
        connection = self._exchange.protocol
        address = connection.address if self._inbound is None else self._inbound.peer
        if address is connection.address or address == connection.address:  # quicker than to write it
            return connection.origin[0]
        return "" if address is None else str(address)

    def _object(self) -> str:
        """The path as it was understood, or as it arrived where it was not; never the query, never a key."""
        try:
            path = self._exchange.message.path.partition("?")[0] if self._inbound is None else self._inbound.path
        except Denied:
            path = unquote(self._exchange.message.path.partition("?")[0])
        low = path.lower()
        if _MARKED.search(low) and _KEYED.search(low):
            path = redact(path)
        return _RUN.sub(_masked, path) if path.count(".") >= 2 else path


def _harmless(user_agent: str) -> str:
    """A user agent without a key in it."""
    return _usual(user_agent) if len(user_agent) <= _USUAL_CHARACTERS else _without_key(user_agent)


def _without_key(user_agent: str) -> str:
    return redact(user_agent) if _SUSPECT.search(user_agent) else user_agent


_USUAL_CHARACTERS: Final = 256
"""Longer ones are not remembered: strangers send them."""
_usual: Final = lru_cache(maxsize=1024)(_without_key)


def _masked(run: re.Match[str]) -> str:
    """Three parts as long as the shortest token's, or MASK."""
    parts = run[0].split(".")
    for first, second, third in zip(parts, parts[1:], parts[2:], strict=False):
        if len(first) >= 16 and len(second) >= 16 and len(third) >= 32:
            return MASK
    return run[0]


def _reason(denied: Denied) -> str:
    evidence = {name: value for name, value in denied.evidence.items() if name not in _KNOWN}
    told = [denied.detail, str(evidence.pop("reason", "")), *(f"{name}={value}" for name, value in evidence.items())]
    return redact(" ".join(part for part in told if part))
