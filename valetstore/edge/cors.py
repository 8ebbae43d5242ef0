"""CORS (the Fetch standard): which web origins may use a bucket from a browser.

Rule 1: a preflight is answered before any key is asked for; a browser sends it without one.
Rule 2: refusals carry the headers too, else a page's own error handling never sees the code.
Rule 3: a key travels in the URL or a header, never by ambient authority: credentials mode is not offered.
"""

from collections.abc import Callable, Sequence
from typing import Final

from valetstore.config import CorsRule
from valetstore.edge.replies import Header, Reply
from valetstore.errors import Denied
from valetstore.inbound import Inbound

EXPOSED: Final = ("ETag", "Content-Range", "Content-Length", "Accept-Ranges", "X-Valet-Error", "X-Request-Id")
"""Response headers that a page may always read."""

ORIGIN_BYTES_MAX: Final = 512
HEADER_NAME_BYTES_MAX: Final = 128
"""Longer ones, which no browser sends, are matched with nothing."""

RulesOf = Callable[[str], Sequence[CorsRule]]


class Cors:
    """Answers preflights and adds headers, by the rules of each bucket."""

    def __init__(self, rules_of: RulesOf) -> None:
        self._rules_of = rules_of

    def preflight(self, inbound: Inbound) -> Reply:
        """The answer to OPTIONS. Raises `cors_not_allowed`."""
        origin = inbound.header("origin")
        method = inbound.header("access-control-request-method")
        if origin is None or method is None:
            return Reply(204, [("Allow", "GET, HEAD, PUT, DELETE, OPTIONS")])
        asked = [name.strip().lower() for name in (inbound.header("access-control-request-headers") or "").split(",")]
        for rule in self._rules_for(inbound):
            if _allows(rule, origin, method, [name for name in asked if name]):
                return Reply(204, _preflight_headers(rule, origin, inbound))
        raise Denied("cors_not_allowed", "Ask the operator to add the origin, method and headers.")

    def headers(self, inbound: Inbound) -> list[Header]:
        """What an answer to this request carries; [] where there is no Origin or no rule for it."""
        origin = inbound.header("origin")
        rules = self._rules_for(inbound)
        if not rules:
            return []
        if inbound.method == "OPTIONS":
            return [("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
        for rule in rules:
            if origin is not None and _allows(rule, origin, inbound.method, []):
                exposed = ", ".join(dict.fromkeys((*EXPOSED, *rule.expose)))
                vary = [] if "*" in rule.origins else [("Vary", "Origin")]
                return [_allow_origin(rule, origin), ("Access-Control-Expose-Headers", exposed), *vary]
        # A cache must not hand an answer without these headers to a page whose origin has a rule.
        return [("Vary", "Origin")]

    def _rules_for(self, inbound: Inbound) -> Sequence[CorsRule]:
        """Those of the bucket the path names; none where it is no path."""
        try:
            return self._rules_of(inbound.path[1:].partition("/")[0])
        except Denied:
            return ()


def _allows(rule: CorsRule, origin: str, method: str, headers: Sequence[str]) -> bool:
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


def _allow_origin(rule: CorsRule, origin: str) -> Header:
    return "Access-Control-Allow-Origin", "*" if "*" in rule.origins else origin


def _preflight_headers(rule: CorsRule, origin: str, inbound: Inbound) -> list[Header]:
    asked = inbound.header("access-control-request-headers")
    headers = [
        _allow_origin(rule, origin),
        ("Access-Control-Allow-Methods", ", ".join(rule.methods)),
        ("Access-Control-Max-Age", str(rule.max_age_seconds)),
    ]
    if asked:
        headers.append(("Access-Control-Allow-Headers", asked))
    return headers
