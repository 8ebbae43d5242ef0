"""A stranger's signer: botocore, and requests as they arrive that it has signed."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.session
import msgspec
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from valetstore.grants.grant import Profile, Proof
from valetstore.grants.s3 import v4
from valetstore.grants.s3.proven import Proven
from valetstore.grants.s3.rules import Rules
from valetstore.grants.s3.scheme import S3
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import new_access_key_id, new_secret_access_key

HOST = "127.0.0.1:9000"
ENDPOINT = f"http://{HOST}"
URL = f"{ENDPOINT}/photos/cat.jpg"
RULES = Rules()


@cache
def identity() -> Credentials:
    """The access key id and secret of the tests' signing key."""
    return Credentials(new_access_key_id(), new_secret_access_key())


@cache
def ring(profile: Profile | None = None) -> KeyRing:
    """A ring that holds it."""
    return ring_of(identity(), profile or Profile())


def ring_of(credentials: Credentials, profile: Profile, retires_at: int | None = None) -> KeyRing:
    """A ring of one signing key."""
    secret = credentials.secret_key.encode()
    record = record_of("web", "HMAC", profile, kid=credentials.access_key, secret=secret, scheme="s3")
    if retires_at is not None:
        record = msgspec.structs.replace(record, retires_at=retires_at)
    return KeyRing([record])


def arriving(
    method: str, url: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), **more: Any
) -> Inbound:
    """A request as it arrives, by default now; with the Host of its URL where no other is given."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("Host", parts.netloc))
    raw = tuple((name.encode(), value.encode("latin-1")) for name, value in pairs)
    more.setdefault("now", datetime.now(UTC).timestamp())
    return Inbound(method, target.encode(), raw, **more)


def presigned(
    method: str = "GET",
    url: str = URL,
    headers: Mapping[str, str] | None = None,
    expires: int = 3600,
    credentials: Credentials | None = None,
    region: str = "us-east-1",
) -> str:
    """A URL that botocore has signed, with these headers signed into it."""
    request = AWSRequest(method=method, url=url, headers=dict(headers or {}))
    S3SigV4QueryAuth(credentials or identity(), "s3", region, expires).add_auth(request)
    return str(request.prepare().url)


def signed(
    method: str = "GET",
    url: str = URL,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    credentials: Credentials | None = None,
    region: str = "us-east-1",
) -> dict[str, str]:
    """The headers that botocore sends after it has signed them, with the Host."""
    request = AWSRequest(method=method, url=url, headers=dict(headers or {}), data=body)
    S3SigV4Auth(credentials or identity(), "s3", region).add_auth(request)
    prepared = request.prepare()
    sent = {name: text_of(value) for name, value in prepared.headers.items()}
    return {"Host": urlsplit(url).netloc, **sent}


def text_of(value: str | bytes) -> str:
    """A header's value as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


@cache
def client(credentials: Credentials | None = None) -> Any:
    """botocore's own client, which would talk to the tests' host; with temporary credentials where some are given."""
    who = credentials or identity()
    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=ENDPOINT,
        aws_access_key_id=who.access_key,
        aws_secret_access_key=who.secret_key,
        aws_session_token=who.token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )


class _Caught(BaseException):
    """What was about to be sent."""


def caught(call: Callable[[Any], object], credentials: Credentials | None = None) -> Inbound:
    """The request that botocore's client would send."""
    found: list[Any] = []

    def catch(request: Any, **_: object) -> None:
        found.append(request)
        raise _Caught

    events = client(credentials).meta.events
    events.register("before-send.s3", catch)
    try:
        call(client(credentials))
    except _Caught:
        pass
    finally:
        events.unregister("before-send.s3", catch)
    (request,) = found
    headers = {name: text_of(value) for name, value in request.headers.items()}
    return arriving(request.method, request.url, headers)


def parameters(url: str) -> dict[str, str]:
    """The query of a URL, decoded, `+` as `+`."""
    return dict(parse_qsl(urlsplit(url).query.replace("+", "%2B"), keep_blank_values=True))


def with_parameters(url: str, **changes: str | None) -> str:
    """The URL with these parameters changed (`_` for `-`), or taken away where they are None."""
    found: dict[str, str | None] = dict(parameters(url))
    found |= {name.replace("_", "-"): value for name, value in changes.items()}
    query = "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in found.items() if value is not None)
    return f"{url.partition('?')[0]}?{query}"


def prove_url(inbound: Inbound, rules: Rules = RULES, keys: KeyRing | None = None) -> Proven:
    """What a presigned URL proves."""
    return v4.verify_query(inbound, rules, keys or ring())


def prove_headers(inbound: Inbound, rules: Rules = RULES, keys: KeyRing | None = None) -> Proven:
    """What signed headers prove."""
    return v4.verify_header(inbound, rules, keys or ring())


def judge(inbound: Inbound, keys: KeyRing | None = None, rules: Rules = RULES) -> Proof:
    """What the whole scheme says of a request."""
    scheme = S3(rules)
    (credential,) = scheme.recognises(inbound)
    return scheme.verify(inbound, credential, keys or ring())


def made_up_secret() -> str:
    """A secret that nobody holds."""
    return secrets.token_urlsafe(30)
