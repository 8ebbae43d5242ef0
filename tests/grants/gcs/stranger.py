"""A stranger's signers: google-cloud-storage, one for HMAC keys, and requests as they arrive that these have signed."""

import base64
import datetime
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.storage.client import Client
from google.oauth2 import service_account

from valetstore.errors import Denied
from valetstore.grants.gcs import Gcs, Rules
from valetstore.grants.grant import Grant, Profile, Proof
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.material import private_pem, public_pem
from valetstore.keys.ring import INTERNAL_NAME, KeyRecord, KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import GCS, new_access_key_id, new_secret_access_key
from valetstore.policy.request import enforce

HOST = "127.0.0.1:9000"
ENDPOINT = f"http://{HOST}"
EMAIL = "signer@valetstore.invalid"
NAME = "a b+\u00fc~(1)/c.jpg"
RULES = Rules(hosts=("files.example.com",))
LIFE = datetime.timedelta(seconds=600)


class Secret(NamedTuple):
    """An HMAC key."""

    access_id: str
    secret: str


@cache
def private_key(number: int = 0) -> rsa.RSAPrivateKey:
    """A key of the tests' service account; another for each number."""
    return rsa.generate_private_key(65537, 2048)


@cache
def secret() -> Secret:
    """The tests' HMAC key."""
    return Secret(new_access_key_id(), new_secret_access_key())


@cache
def records(profile: Profile) -> tuple[KeyRecord, ...]:
    """The signing keys of the tests: a service account's, an HMAC key's, and the gateway's own."""
    made = secret()
    return (
        record_of("account", "RSA", profile, kid=EMAIL, public_key=public_pem(private_key()), scheme=GCS),
        record_of("hmac", "HMAC", profile, kid=made.access_id, secret=made.secret.encode(), scheme=GCS),
        record_of(INTERNAL_NAME, "HS256", Profile(operations=("admin",)), secret=bytes(range(32))),
    )


@cache
def ring(profile: Profile | None = None, retires_at: int | None = None) -> KeyRing:
    """A ring that holds them."""
    found = records(profile or Profile())
    return KeyRing([*(msgspec.structs.replace(one, retires_at=retires_at) for one in found[:2]), found[2]])


@cache
def client(endpoint: str = ENDPOINT) -> Any:
    """Google's own client, which signs for the tests' host."""
    info = {
        "type": "service_account",
        "project_id": "none",
        "client_email": EMAIL,
        "private_key": private_pem(private_key()),
        "token_uri": "http://valetstore.invalid/",
    }
    account: Any = service_account.Credentials
    credentials = account.from_service_account_info(info)
    return Client(project="none", credentials=credentials, client_options={"api_endpoint": endpoint})


def signed(method: str = "GET", name: str = NAME, *, version: str = "v4", endpoint: str = ENDPOINT, **more: Any) -> str:
    """A URL that Google's library has signed."""
    more.setdefault("expiration", LIFE)
    blob = client(endpoint).bucket("photos").blob(name)
    return str(blob.generate_signed_url(version=version, method=method, **more))


def signed_list(version: str = "v4", **more: Any) -> str:
    """The same for a list of the bucket."""
    more.setdefault("expiration", LIFE)
    return str(client().bucket("photos").generate_signed_url(version=version, **more))


def arriving(
    method: str, url: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), **more: Any
) -> Inbound:
    """A request as it arrives, by default now; with the Host of its URL where no other is given."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("Host", parts.netloc))
    raw = tuple((name.encode(), value.encode("latin-1")) for name, value in pairs)
    more.setdefault("now", time.time())
    return Inbound(method, target.encode(), raw, **more)


def prove(inbound: Inbound, keys: KeyRing | None = None, rules: Rules = RULES) -> Proof:
    """What the one key of a request proves."""
    scheme = Gcs(rules)
    return scheme.verify(inbound, recognise(inbound, [scheme]), ring() if keys is None else keys)


def admitted(inbound: Inbound, keys: KeyRing | None = None, rules: Rules = RULES) -> Grant:
    """The grant of a request that is let in, within its signing key's profile; raises Denied where it is not."""
    intent = Gcs(rules).intent(inbound)
    proof = prove(inbound, keys, rules)
    grant = proof.grant.narrowed_by(proof.limits)
    enforce(grant, intent, inbound)
    return grant


def refusal(inbound: Inbound, keys: KeyRing | None = None, rules: Rules = RULES) -> Denied:
    """Why a request is not let in."""
    try:
        admitted(inbound, keys, rules)
    except Denied as denied:
        return denied
    raise AssertionError("it was let in")


def said(denied: Denied) -> tuple[str, str, int]:
    """Google's code, sentence and status."""
    assert denied.said is not None
    return denied.said.code, denied.said.message, denied.said.status


def members(denied: Denied) -> dict[str, str]:
    """The further members of its error document."""
    assert denied.said is not None
    return dict(denied.said.members)


def parameters(url: str) -> dict[str, str]:
    """The query of a URL, decoded, `+` as `+`."""
    return dict(parse_qsl(urlsplit(url).query.replace("+", "%2B"), keep_blank_values=True))


def with_parameters(url: str, changes: Mapping[str, str | None]) -> str:
    """The URL with these parameters changed, or taken away where they are None."""
    found: dict[str, str | None] = {**parameters(url), **changes}
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in found.items() if value is not None
    )
    return f"{url.partition('?')[0]}?{query}"


# An HMAC signer, written from the description of the process and from nothing of the project's.


def hmac_url(method: str = "GET", path: str = "/photos/cat.jpg", **headers: str) -> str:
    """A URL of version 4 that the tests' HMAC key has signed, with these headers (`_` for `-`)."""
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    scope = f"{day}/us-east1/storage/goog4_request"
    lines = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    names = ";".join(sorted(lines))
    query = {
        "X-Goog-Algorithm": "GOOG4-HMAC-SHA256",
        "X-Goog-Credential": f"{secret().access_id}/{scope}",
        "X-Goog-Date": stamp,
        "X-Goog-Expires": "600",
        "X-Goog-SignedHeaders": names,
    }
    canonical_query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(query.items()))
    listed = "".join(f"{name}:{value}\n" for name, value in sorted(lines.items()))
    canonical = f"{method}\n{path}\n{canonical_query}\n{listed}\n{names}\nUNSIGNED-PAYLOAD"
    text = f"GOOG4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(hmac_key(day, "us-east1"), text.encode(), hashlib.sha256).hexdigest()
    return f"{ENDPOINT}{path}?{canonical_query}&X-Goog-Signature={signature}"


def hmac_key(day: str, location: str) -> bytes:
    """The key of a day."""
    key = b"GOOG4" + secret().secret.encode()
    for part in (day, location, "storage", "goog4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def hmac_v2_url(path: str = "/photos/cat.jpg", expires: int | None = None) -> str:
    """A URL of version 2 that the tests' HMAC key has signed for GET."""
    expires = int(time.time()) + 600 if expires is None else expires
    text = f"GET\n\n\n{expires}\n{path}"
    mac = hmac.new(secret().secret.encode(), text.encode(), hashlib.sha1).digest()
    signature = quote(base64.b64encode(mac).decode(), safe="")
    return f"{ENDPOINT}{path}?GoogleAccessId={secret().access_id}&Expires={expires}&Signature={signature}"


# Forms


def posted(fields: Mapping[str, str], path: str = "/photos/", filename: str = "cat.jpg", **more: Any) -> Inbound:
    """A form as it arrives, its file after its fields."""
    form = tuple((name.lower(), value) for name, value in fields.items())
    more.setdefault("form", (*form, ("file", filename)))
    return arriving("POST", f"{ENDPOINT}{path}", **more)


def policy_fields(name: str = "cat.jpg", **more: Any) -> dict[str, str]:
    """The fields of a form that Google's library has signed."""
    more.setdefault("expiration", LIFE)
    made = client().generate_signed_post_policy_v4("photos", name, **more)
    assert made["url"] == f"{ENDPOINT}/photos/"
    return {str(field): str(value) for field, value in made["fields"].items()}
