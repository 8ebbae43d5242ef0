"""Sign for Google Cloud Storage as its SDKs do: signed URLs of version 4 and 2, and the fields of a POST form.

Rule 1: the clock is the caller's (`now`), and so is whether the signing key's profile allows what is signed.
Rule 2: what is signed here is byte for byte what Google's own library signs for the same request at the same moment.

Sources: Google Cloud, "Signatures", "V2 signing process", "Policy documents".
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from valetstore.grants import sigv4
from valetstore.grants.gcs.operations import RESUMABLE
from valetstore.grants.gcs.signer import sha1_mac
from valetstore.grants.presign import Condition, Form, Request, form_url, host_of, policy_of, query_of, v4_text
from valetstore.grants.sigv4 import GOOGLE, GOOGLE_RSA, UNSIGNED_PAYLOAD, Family, Signed, encode, stamp_of
from valetstore.keys.material import PrivateKey, rsa_sign

V4_SECONDS_MAX: Final = 604_800
"""A week: no signed URL of version 4 lives longer."""

LOCATION: Final = "auto"
PAYLOAD: Final = "x-goog-content-sha256"
START: Final = (RESUMABLE, "start")
"""The header that makes of a POST the beginning of a resumable session."""

_V2_HEADERS: Final = frozenset({"content-md5", "content-type"})


class Key(NamedTuple):
    """Who signs: a service account's e-mail address with its private key, or an access id with its secret."""

    client: str
    material: bytes | PrivateKey

    def __repr__(self) -> str:
        """Never shows the key."""
        return f"Key({self.client!r})"

    @property
    def family(self) -> Family:
        """How version 4 spells what it signs with."""
        return GOOGLE if isinstance(self.material, bytes) else GOOGLE_RSA

    def sign_v4(self, signed: Signed, text: bytes) -> str:
        """The signature of version 4 in hexadecimal digits."""
        if isinstance(self.material, bytes):
            return sigv4.mac(GOOGLE, self.material, signed, text).hex()
        return rsa_sign(self.material, text).hex()

    def sign_v2(self, text: bytes) -> str:
        """The signature of version 2 in base64."""
        made = sha1_mac(self.material, text) if isinstance(self.material, bytes) else rsa_sign(self.material, text)
        return base64.b64encode(made).decode()


def sign_v4(key: Key, request: Request, *, now: int, expires: int) -> str:
    """A signed URL of version 4, valid for `expires` seconds (1 to V4_SECONDS_MAX) from `now`.

    A known payload is signed as the header PAYLOAD, so the client must send that as well.
    """
    own = [("host", host_of(request.base_url))]
    own += [(PAYLOAD, request.payload)] if request.payload else []
    headers = sorted([*own, *request.headers])
    names = tuple(dict.fromkeys(name for name, _ in headers))
    signed = _signed(now, names, request.payload or UNSIGNED_PAYLOAD, request.method)
    parameters = [
        *request.parameters,
        ("X-Goog-Algorithm", key.family.algorithm),
        ("X-Goog-Credential", f"{key.client}/{signed.scope(key.family)}"),
        ("X-Goog-Date", signed.stamp),
        ("X-Goog-Expires", str(expires)),
        ("X-Goog-SignedHeaders", ";".join(names)),
    ]
    target = encode(request.path, "/") + b"?" + query_of(sorted(parameters))
    signature = key.sign_v4(signed, v4_text(key.family, signed, target, headers))
    return f"{request.base_url.rstrip('/')}{target.decode()}&X-Goog-Signature={signature}"


def sign_v2(key: Key, request: Request, *, expires_at: int) -> str:
    """A signed URL of version 2, valid until `expires_at` (seconds since the epoch).

    It signs no other headers than those that `v2_signs`; parameters are signed as Python's library signs them.
    """
    headers = dict(request.headers)
    extensions = sorted((name, value) for name, value in headers.items() if name.startswith("x-goog-"))
    path, query = encode(request.path, "/").decode(), urlencode(sorted(request.parameters))
    lines = [
        request.method,
        headers.get("content-md5", ""),
        headers.get("content-type", ""),
        str(expires_at),
        *(f"{name}:{' '.join(value.split())}" for name, value in extensions),
        f"{path}?{query}" if query else path,
    ]
    parameters = [
        *request.parameters,
        ("GoogleAccessId", key.client),
        ("Expires", str(expires_at)),
        ("Signature", key.sign_v2("\n".join(lines).encode("latin-1"))),
    ]
    return f"{request.base_url.rstrip('/')}{path}?{urlencode(sorted(parameters))}"


def post_form(
    key: Key,
    base_url: str,
    bucket: str,
    name: str,
    *,
    now: int,
    expires: int,
    conditions: Iterable[Condition] = (),
    fields: Mapping[str, str] | None = None,
) -> Form:
    """A form of version 4 that uploads into one bucket until `now + expires`.

    `name` is the object's; one that ends in FILENAME stands for every name that begins so. `fields` are sent as they
    are, unless a condition says more of them.
    """
    fields = dict(fields or {})
    signed = _signed(now, (), "", "POST")
    own = {
        "x-goog-algorithm": key.family.algorithm,
        "x-goog-credential": f"{key.client}/{signed.scope(key.family)}",
        "x-goog-date": signed.stamp,
    }
    policy = policy_of(bucket, name, expires_at=now + expires, conditions=conditions, fields=fields, own=own)
    proof = {"policy": policy, "x-goog-signature": key.sign_v4(signed, policy.encode())}
    return Form(form_url(base_url, bucket), {"key": name} | fields | own | proof)


def v2_signs(header: str) -> bool:
    """Whether version 2 signs this header (by its lower-case name)."""
    return header in _V2_HEADERS or header.startswith("x-goog-")


def _signed(now: int, names: tuple[str, ...], payload: str, method: str) -> Signed:
    return Signed(stamp_of(now), LOCATION, names, (payload,), (method,), b"")
