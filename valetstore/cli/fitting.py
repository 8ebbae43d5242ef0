"""The request that a key is for, as far as the key says it: what `inspect` judges unless it is told otherwise.

Rule: nothing is proven here, and nothing that the user has said is changed.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from valetstore.cli.explain_vendor import Explained
from valetstore.cli.request import pairs_of
from valetstore.dialects import Rules
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.claims import Claims, as_list
from valetstore.grants.facts import Facts
from valetstore.grants.recognise import recognise
from valetstore.grants.s3.explain import facts_of as s3_facts_of
from valetstore.grants.s3.nearby import fitting as s3_fitting
from valetstore.inbound import Form, Inbound
from valetstore.pasted import METHODS

_METHOD_OF: Final = {"read": "GET", "list": "GET", "write": "PUT", "delete": "DELETE", "admin": "POST"}
_SOME_NAME: Final = "x"
"""What stands in for a wildcard."""


class Fitting(NamedTuple):
    """What a request has to bring: `source` is "" for any; `url` is where to, "" where the key does not say it."""

    method: str
    source: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    form: Form | None = None
    url: str = ""


def fitting(
    bare: Inbound,
    claims: Claims | None,
    found: Explained | None,
    gateway: Gateway,
    rules: Rules,
    *,
    method_is_given: bool,
) -> Fitting:
    """What the key in a bare request asks for: by its `claims`, or by what was `found` out of a vendor's."""
    if claims is not None:
        return _of_claims(bare, claims, method_is_given=method_is_given)
    if found is not None:
        return _of_facts(bare, found.facts, gateway, method_is_given=method_is_given)
    facts = s3_facts_of(bare)
    if facts is None:
        return Fitting(bare.method, form=bare.form)
    asked = s3_fitting(bare, facts, rules.s3, gateway.keys, method_is_given=method_is_given)
    return Fitting(asked.method, asked.source, tuple(asked.headers.items()), asked.form)


def _of_claims(bare: Inbound, claims: Claims, *, method_is_given: bool) -> Fitting:
    headers = {name.lower(): value for name, value in claims.headers.items()}
    types = as_list(claims.type)
    if types:
        headers.setdefault("content-type", types[0].replace("*", _SOME_NAME))
    method = bare.method if method_is_given or not claims.ops else _METHOD_OF[claims.ops[0]]
    path = claims.path if claims.path is not None else claims.prefix or "/"
    return Fitting(
        method, _first_address(as_list(claims.ip)), tuple(headers.items()), bare.form, quote(path, safe="/~")
    )


def _of_facts(bare: Inbound, facts: Facts, gateway: Gateway, *, method_is_given: bool) -> Fitting:
    headers = tuple((name, value) for name, value in facts.headers if value and name != "host")
    source = _first_address(facts.networks)
    if bare.form is not None:
        return Fitting("POST", source, (), bare.form)
    sent = bare.with_headers(pairs_of(dict(headers)))
    method = bare.method if method_is_given else _method_of(sent, facts, gateway)
    if method == "PUT" and (types := _said(facts, "type")) and "content-type" not in dict(facts.headers):
        headers = (*headers, ("content-type", types.partition(",")[0].strip().replace("*", _SOME_NAME)))
    return Fitting(method, source, headers, None, _place_in(_said(facts, "resource")))


def _said(facts: Facts, name: str) -> str:
    return next((fact.value for fact in facts.said if fact.name == name), "")


def _method_of(sent: Inbound, facts: Facts, gateway: Gateway) -> str:
    """The first method that the key opens with; what it says of itself, where it opens with none."""
    for method in _methods(facts):
        inbound = sent.with_method(method)
        try:
            credential = recognise(inbound, gateway.schemes)
            intent = credential.scheme.intent(inbound)
            grant = credential.scheme.verify(inbound, credential, gateway.keys).grant
        except Denied:
            continue
        if intent.operation in grant.operations:
            return method
    return facts.method or sent.method


def _methods(facts: Facts) -> Iterator[str]:
    yield from dict.fromkeys([*([facts.method] if facts.method else []), *METHODS])


def _first_address(networks: list[str] | tuple[str, ...]) -> str:
    return networks[0].partition("/")[0].partition("-")[0] if networks else ""


def _place_in(resource: str) -> str:
    """A URL that a policy's resource fits, "" where it names no host: for cookies that came without a URL."""
    url = resource.replace("*", _SOME_NAME)
    parts = urlsplit(url)
    if not parts.netloc:
        return ""
    # `http*://` fits either.
    scheme = "https" if parts.scheme.startswith("https") else "http"
    return f"{scheme}://{parts.netloc}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
