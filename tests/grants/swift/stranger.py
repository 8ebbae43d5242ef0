"""Who signs for these tests: python-swiftclient for URLs, and for forms what Swift's documentation does.

Nothing of ours is used to sign, so that what opens here opens for Swift's own users.
"""

import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from swiftclient.utils import generate_temp_url

from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Intent, Profile
from valetstore.grants.recognise import recognise
from valetstore.grants.swift import Rules, Swift
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import HMAC, SWIFT
from valetstore.policy.request import enforce

ACCOUNT: Final = "AUTH_test"
PATH: Final = f"/v1/{ACCOUNT}/photos/cats/tom.jpg"
NOW: Final = 1_800_000_000
LATER: Final = NOW + 300
KEY: Final = secrets.token_urlsafe(30)
RULES: Final = Rules()
HASHES: Final = ("sha1", "sha256", "sha512")


def ring(*keys: str, account: str = ACCOUNT, profile: Profile | None = None) -> KeyRing:
    """A ring whose signing keys have these secrets, all of one account; KEY where none is given."""
    return KeyRing(
        record_of(f"swift{n}", HMAC, profile or Profile(), kid=account, secret=key.encode(), scheme=SWIFT)
        for n, key in enumerate(keys or (KEY,))
    )


def signed(
    method: str = "GET", path: str = PATH, expires: int = LATER, key: str = KEY, digest: str = "sha256", **options: Any
) -> str:
    """A TempURL's target as python-swiftclient makes it, its path percent-encoded as every client sends it."""
    made = generate_temp_url(path, expires, key, method, absolute=True, digest=digest, **options)
    # It encodes nothing: what it wrote of the path and of the prefix, which comes last, is taken off as it is.
    rest, _, prefix = made[len(path) + 1 :].partition("&temp_url_prefix=")
    parameters = [tuple(pair.split("=", 1)) for pair in rest.split("&")]
    parameters += [("temp_url_prefix", prefix)] if options.get("prefix") else []
    return f"{quote(path)}?{'&'.join(f'{name}={quote(value)}' for name, value in parameters)}"


def arriving(method: str, target: str, now: float = NOW, peer: str | None = None, **headers: str) -> Inbound:
    """A request."""
    lines = [f"{method} {target} HTTP/1.1", "host: x", *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items())]
    return Inbound.from_raw("\r\n".join([*lines, "", ""]).encode(), now=now, peer=peer)


def form_fields(
    path: str = f"/v1/{ACCOUNT}/photos/cats/",
    key: str = KEY,
    digest: str = "sha256",
    expires: int = LATER,
    size: int = 1000,
    count: int = 10,
    redirect: str = "",
) -> dict[str, str]:
    """The fields of a form, as Swift's documentation signs them."""
    text = f"{path}\n{redirect}\n{size}\n{count}\n{expires}"
    mac = hmac.new(key.encode(), text.encode(), digest).hexdigest()
    own = {"max_file_size": str(size), "max_file_count": str(count), "expires": str(expires), "signature": mac}
    return ({"redirect": redirect} if redirect else {}) | own


def posting(fields: Mapping[str, str], path: str = f"/v1/{ACCOUNT}/photos/cats/", now: float = NOW) -> Inbound:
    """A form that was read up to its first file."""
    inbound = arriving("POST", quote(path), now, content_type="multipart/form-data; boundary=x")
    return inbound.with_form(tuple(fields.items()))


def judged(inbound: Inbound, keys: KeyRing | None = None, rules: Rules = RULES) -> tuple[Intent, Grant]:
    """What is asked for and what allows it; raises Denied unless it is let in."""
    scheme = Swift(rules)
    credential = recognise(inbound, [scheme])
    intent = scheme.intent(inbound)
    proof = scheme.verify(inbound, credential, keys or ring())
    grant = proof.grant.narrowed_by(proof.limits)
    enforce(grant, intent, inbound)
    return intent, grant


def refusal(inbound: Inbound, keys: KeyRing | None = None, rules: Rules = RULES) -> str:
    """The code that it is refused by; "" where it is let in."""
    try:
        judged(inbound, keys, rules)
    except Denied as denied:
        return denied.code
    return ""
