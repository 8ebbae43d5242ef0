"""CORS (the Fetch standard): which web origins may use a bucket from a browser.

Rule 1: a preflight is answered before any key is asked for; a browser sends it without one.
Rule 2: refusals carry the headers too, else a page's own error handling never sees the code.
Rule 3: a key travels in the URL or a header, never by ambient authority: credentials mode is not offered.
Rule 4: rules that a bucket's user has stored (S3's PutBucketCors) hold instead of the settings', and are answered by
as S3 answers; so is who speaks S3.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from valetstore.config import CorsRule
from valetstore.edge.dialect import Dialect
from valetstore.edge.replies import Header, Reply
from valetstore.edge.s3.bucket_cors import StoredRule
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.keys.vendor import S3

EXPOSED: Final = (
    "ETag",
    "Content-Range",
    "Content-Length",
    "Accept-Ranges",
    "X-Valet-Error",
    "X-Request-Id",
    "x-amz-request-id",
    "x-ms-error-code",
    "x-ms-request-id",
    # A page that uploads in a resumable session reads where that is, and how much has arrived.
    "Location",
    "Range",
    "x-goog-generation",
    "x-goog-hash",
)
"""Response headers that a page may always read."""

ORIGIN_BYTES_MAX: Final = 512
HEADER_NAME_BYTES_MAX: Final = 128
"""Longer ones, which no browser sends, are matched with nothing."""

Rule = CorsRule | StoredRule
RulesOf = Callable[[str], Sequence[CorsRule]]
StoredRulesOf = Callable[[str], Sequence[StoredRule] | None]
_VARY_PREFLIGHT: Final = ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


class Ways(NamedTuple):
    """What this file asks of the dialects: the rules stored for a bucket, the dialect that a request speaks, the bucket
    and the name in it that a request means, also by its Host.
    """

    stored: StoredRulesOf
    spoken: Callable[[Inbound], Dialect | None]
    place: Callable[[Inbound], tuple[str, str]]


class Cors:
    """Answers preflights and adds headers, by the rules of each bucket."""

    def __init__(self, rules_of: RulesOf, ways: Ways, *, any_rules: bool = True) -> None:
        self._rules_of = rules_of
        self._any = any_rules  # of the settings, for whichever bucket
        self._ways = ways

    def answers_as(self, inbound: Inbound) -> str:
        """The dialect in whose way OPTIONS is answered and refused: S3's, where a bucket's rules were stored by its
        client. "" for any other request.
        """
        return S3 if inbound.method == "OPTIONS" and self._is_s3(inbound) else ""

    def _is_s3(self, inbound: Inbound) -> bool:
        spoken = self._ways.spoken(inbound)
        return spoken.name == S3 if spoken is not None else self._stored(inbound) is not None

    def preflight(self, inbound: Inbound) -> Reply:
        """The answer to OPTIONS. Raises `cors_not_allowed`; where it is S3's also `parameter_invalid`."""
        origin = inbound.header("origin")
        method = inbound.header("access-control-request-method")
        is_s3 = self._is_s3(inbound)
        if origin is None or method is None:
            if is_s3:
                raise _insufficient(origin)
            return Reply(204, [("Allow", "GET, HEAD, PUT, DELETE, OPTIONS")])
        rules = self._rules_for(inbound)
        asked = [name.strip().lower() for name in (inbound.header("access-control-request-headers") or "").split(",")]
        for rule in rules:
            if _allows(rule, origin, method, [name for name in asked if name]):
                return Reply(200 if is_s3 else 204, _preflight_headers(rule, origin, inbound))
        refusal = Denied("cors_not_allowed", "Ask the operator to add the origin, method and headers.")
        if is_s3:
            kind = "OBJECT" if self._ways.place(inbound)[1] else "BUCKET"
            said = "" if rules else "CORSResponse: CORS is not enabled for this bucket."
            refusal.saying("AccessForbidden", said, Method=method, ResourceType=kind)
        raise refusal

    def headers(self, inbound: Inbound) -> list[Header]:
        """What an answer to this request carries; [] where there is no Origin or no rule for it."""
        origin = inbound.header("origin")
        if origin is None and not self._any and inbound.method != "OPTIONS":
            return []
        rules = self._rules_for(inbound)
        if not rules:
            return []
        if inbound.method == "OPTIONS":
            return [_VARY_PREFLIGHT]
        for rule in rules:
            if origin is not None and _allows(rule, origin, _method_of(rule, inbound), []):
                exposed = ", ".join(dict.fromkeys((*EXPOSED, *rule.expose)))
                vary = [] if "*" in rule.origins else [("Vary", "Origin")]
                shown = [_allow_origin(rule, origin), ("Access-Control-Expose-Headers", exposed), *vary]
                return [*shown, *_repeated(rule)]
        # A cache must not hand an answer without these headers to a page whose origin has a rule.
        return [("Vary", "Origin")]

    def _rules_for(self, inbound: Inbound) -> Sequence[Rule]:
        """Those of the bucket that is meant; none where it cannot be told."""
        stored = self._stored(inbound)
        if stored is not None:
            return stored
        try:
            return self._rules_of(self._ways.place(inbound)[0])
        except Denied:
            return ()

    def _stored(self, inbound: Inbound) -> Sequence[StoredRule] | None:
        """The rules of the bucket's user; looked for only where an answer could depend on them."""
        if inbound.method != "OPTIONS" and inbound.header("origin") is None:
            return None
        try:
            return self._ways.stored(self._ways.place(inbound)[0])
        except Denied as denied:
            # Rules that cannot be read allow nothing; where no bucket can have them there are none.
            return () if denied.code.startswith("storage") else None


def _insufficient(origin: str | None) -> Denied:
    said = "Insufficient information. Origin request header needed."
    if origin is not None:
        said = "Invalid Access-Control-Request-Method: null"
    return Denied("parameter_invalid", said).saying("BadRequest", said, 400)


def _method_of(rule: Rule, inbound: Inbound) -> str:
    """The method a rule must allow; S3 goes by what a preflight would have asked for, where that is sent along."""
    asked = inbound.header("access-control-request-method") if isinstance(rule, StoredRule) else None
    return asked or inbound.method


def _allows(rule: Rule, origin: str, method: str, headers: Sequence[str]) -> bool:
    return (
        len(origin) <= ORIGIN_BYTES_MAX
        and all(len(name) <= HEADER_NAME_BYTES_MAX for name in headers)
        and any(_matches(pattern, origin) for pattern in rule.origins)
        and method in rule.methods
        and all(any(_matches(pattern.lower(), name) for pattern in rule.headers) for name in headers)
    )


def _matches(pattern: str, text: str) -> bool:
    """Whether text is the pattern, each `*` standing for any characters. Never tries a character twice."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    last = others.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in others:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(last)


def _allow_origin(rule: Rule, origin: str) -> Header:
    return "Access-Control-Allow-Origin", "*" if "*" in rule.origins else origin


def _preflight_headers(rule: Rule, origin: str, inbound: Inbound) -> list[Header]:
    asked = inbound.header("access-control-request-headers")
    headers = [_allow_origin(rule, origin), ("Access-Control-Allow-Methods", ", ".join(rule.methods))]
    if rule.max_age_seconds is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age_seconds)))
    if asked:
        headers.append(("Access-Control-Allow-Headers", asked))
    return headers


def _repeated(rule: Rule) -> list[Header]:
    """What S3 says with every answer, though browsers only listen to it in a preflight's."""
    if not isinstance(rule, StoredRule):
        return []
    age = [] if rule.max_age_seconds is None else [("Access-Control-Max-Age", str(rule.max_age_seconds))]
    return [("Access-Control-Allow-Methods", ", ".join(rule.methods)), *age]
