"""Sign for S3 as its SDKs do: presigned URLs of signature version 4 and 2, and the fields of a POST form.

Rule 1: the clock is the caller's (`now`), and so is whether the signing key's profile allows what is signed.
Rule 2: what is signed here is byte for byte what botocore signs for the same request at the same moment.

Sources: AWS, "Authenticating Requests: Using Query Parameters", "Browser-Based Uploads Using POST"; Amazon S3 developer
guide, "Signing and Authenticating REST Requests" (version 2).
"""

import base64
import hmac
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from valetstore.grants import sigv4
from valetstore.grants.presign import Condition, Form, Request, form_url, host_of, policy_of, query_of, v4_text
from valetstore.grants.sigv4 import AWS, UNSIGNED_PAYLOAD, Signed, encode, stamp_of

V4_SECONDS_MAX: Final = 604_800
"""A week: no presigned URL of version 4 lives longer."""

_V2_HEADERS: Final = frozenset({"content-md5", "content-type"})


class Key(NamedTuple):
    """Who signs: `secret` is the secret access key's bytes; `session_token` is "" but for temporary credentials."""

    access_key_id: str
    secret: bytes
    session_token: str = ""

    def __repr__(self) -> str:
        """Never shows the secret."""
        return f"Key({self.access_key_id!r})"


def presign_v4(key: Key, request: Request, *, now: int, expires: int, region: str) -> str:
    """A presigned URL of version 4, valid for `expires` seconds (up to V4_SECONDS_MAX) from `now`."""
    headers = sorted([("host", host_of(request.base_url)), *request.headers])
    names = tuple(dict.fromkeys(name for name, _ in headers))
    signed = _signed(now, region, names, request.payload or UNSIGNED_PAYLOAD, request.method)
    parameters = [
        *request.parameters,
        ("X-Amz-Algorithm", AWS.algorithm),
        ("X-Amz-Credential", f"{key.access_key_id}/{signed.scope(AWS)}"),
        ("X-Amz-Date", signed.stamp),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", ";".join(names)),
    ]
    parameters += [("X-Amz-Content-Sha256", request.payload)] if request.payload else []
    parameters += [("X-Amz-Security-Token", key.session_token)] if key.session_token else []
    target = encode(request.path, "/") + b"?" + query_of(parameters)
    signature = sigv4.mac(AWS, key.secret, signed, v4_text(AWS, signed, target, headers)).hex()
    return f"{request.base_url.rstrip('/')}{target.decode()}&X-Amz-Signature={signature}"


def presign_v2(key: Key, request: Request, *, expires_at: int) -> str:
    """A presigned URL of version 2, valid until `expires_at` (seconds since the epoch).

    It signs no other headers than `content-md5`, `content-type` and `x-amz-*`, which are in its query as well, and no
    other parameters than `response-*`: the caller must ask for nothing else.
    """
    own = [("x-amz-security-token", key.session_token)] if key.session_token else []
    headers = dict([*request.headers, *own])
    extensions = sorted((name, value) for name, value in headers.items() if name.startswith("x-amz-"))
    path = encode(request.path, "/").decode()
    resource = "&".join(f"{name}={value}" for name, value in sorted(request.parameters))
    lines = [
        request.method,
        headers.get("content-md5", ""),
        headers.get("content-type", ""),
        str(expires_at),
        *(f"{name}:{value}" for name, value in extensions),
        f"{path}?{resource}" if resource else path,
    ]
    parameters = [
        *request.parameters,
        ("AWSAccessKeyId", key.access_key_id),
        ("Signature", _v2_signature(key, "\n".join(lines))),
        *headers.items(),
        ("Expires", str(expires_at)),
    ]
    return f"{request.base_url.rstrip('/')}{path}?{query_of(parameters).decode()}"


def post_form(
    key: Key,
    base_url: str,
    bucket: str,
    name: str,
    *,
    now: int,
    expires: int,
    region: str = "",
    conditions: Iterable[Condition] = (),
    fields: Mapping[str, str] | None = None,
) -> Form:
    """A form that uploads into one bucket until `now + expires`; without a `region` it is signed by version 2.

    `name` is the object's; one that ends in FILENAME stands for every name that begins so. `fields` are sent as they
    are, unless a condition says more of them.
    """
    fields = dict(fields or {})
    own, sign = _v4_fields(key, now, region) if region else _v2_fields(key)
    named = {field: value for field, value in own.items() if field != "AWSAccessKeyId"}
    policy = policy_of(bucket, name, expires_at=now + expires, conditions=conditions, fields=fields, own=named)
    return Form(form_url(base_url, bucket), {"key": name} | fields | own | {"policy": policy} | sign(policy))


def v2_signs(header: str) -> bool:
    """Whether version 2 signs this header (by its lower-case name)."""
    return header in _V2_HEADERS or header.startswith("x-amz-")


class _Signatures(NamedTuple):
    """How a policy is signed: the fields that its signature makes."""

    key: Key
    signed: Signed | None = None

    def __call__(self, policy: str) -> dict[str, str]:
        if self.signed is None:
            return {"signature": _v2_signature(self.key, policy)}
        return {"x-amz-signature": sigv4.mac(AWS, self.key.secret, self.signed, policy.encode()).hex()}


def _v4_fields(key: Key, now: int, region: str) -> tuple[dict[str, str], _Signatures]:
    signed = _signed(now, region, (), "", "POST")
    own = {
        "x-amz-algorithm": AWS.algorithm,
        "x-amz-credential": f"{key.access_key_id}/{signed.scope(AWS)}",
        "x-amz-date": signed.stamp,
    }
    return own | _token(key), _Signatures(key, signed)


def _v2_fields(key: Key) -> tuple[dict[str, str], _Signatures]:
    return {"AWSAccessKeyId": key.access_key_id} | _token(key), _Signatures(key)


def _token(key: Key) -> dict[str, str]:
    return {"x-amz-security-token": key.session_token} if key.session_token else {}


def _signed(now: int, region: str, names: tuple[str, ...], payload: str, method: str) -> Signed:
    return Signed(stamp_of(now), region, names, (payload,), (method,), b"")


def _v2_signature(key: Key, text: str) -> str:
    return base64.b64encode(hmac.digest(key.secret, text.encode(), "sha1")).decode()
