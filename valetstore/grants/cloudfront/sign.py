"""Sign for CloudFront as its SDKs do: canned and custom policies, for URLs and for cookies.

Rule 1: the clock is the caller's, and so is whether the signing key's profile allows what is signed.
Rule 2: URLs and resources are percent-encoded when they come here; what is signed is what the client will send.
"""

import json
from typing import Final, NamedTuple
from urllib.parse import quote

from valetstore.grants.cloudfront.claim import COOKIE_PREFIX
from valetstore.grants.cloudfront.encoded import encode
from valetstore.grants.cloudfront.policy import EPOCH, SOURCE, canned_text
from valetstore.keys.material import PrivateKey, SignatureHash, ecdsa_sign, rsa_sign
from valetstore.keys.vendor import ECDSA

Parameters = dict[str, str]
"""A key's parameters in order, as they stand in a URL."""

_SAFE: Final = "/~"


class Key(NamedTuple):
    """Who signs: the private half of a key of `RSA` or `ECDSA`, and over which hash."""

    key_pair_id: str
    algorithm: str
    private: PrivateKey
    hashed: SignatureHash = "sha1"

    def __repr__(self) -> str:
        """Never shows the key."""
        return f"Key({self.key_pair_id!r})"


def canned(key: Key, url: str, expires_at: int) -> Parameters:
    """A key for exactly this URL until then (seconds since the epoch). Raises ValueError where it is not encoded."""
    return {"Expires": str(expires_at)} | _signature(key, canned_text(url, expires_at))


def custom(key: Key, policy: bytes) -> Parameters:
    """A key for what a custom policy says."""
    return {"Policy": encode(policy)} | _signature(key, policy)


def policy_text(resource: str, *, ends: int, starts: int | None = None, network: str | None = None) -> bytes:
    """A custom policy in the shape of AWS's own signers. Times are seconds since the epoch."""
    condition: dict[str, object] = {"DateLessThan": {EPOCH: ends}}
    if network is not None:
        condition["IpAddress"] = {SOURCE: network}
    if starts is not None:
        condition["DateGreaterThan"] = {EPOCH: starts}
    document = {"Statement": [{"Resource": resource, "Condition": condition}]}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def url_of(base_url: str, path: str) -> str:
    """The URL of a decoded path, as it is to be signed and sent: a star in a name is no wildcard."""
    return base_url.rstrip("/") + quote(path, safe=_SAFE)


def with_key(url: str, parameters: Parameters) -> str:
    """A URL that carries a key: nothing in its parameters needs encoding."""
    said = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"{url}{'&' if '?' in url else '?'}{said}"


def cookies_of(parameters: Parameters) -> dict[str, str]:
    """The same key as cookies."""
    return {f"{COOKIE_PREFIX}{name}": value for name, value in parameters.items()}


def _signature(key: Key, text: bytes) -> Parameters:
    sign = ecdsa_sign if key.algorithm == ECDSA else rsa_sign
    said = {"Signature": encode(sign(key.private, text, key.hashed)), "Key-Pair-Id": key.key_pair_id}
    return said | ({"Hash-Algorithm": "SHA256"} if key.hashed == "sha256" else {})
