"""Probes: requests that the gateway shows back as they arrived, to find what a proxy does to them.

Each is signed with the gateway's own key for /_valet/echo/. A path is what the key signs, so a proxy that
decodes, merges or normalises it breaks keys; a changed Host breaks the dialects that sign it.

A public URL's certificate is verified, as its clients do; the gateway's own on loopback is not (`door.py`).
"""

import http.client
import json
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

from valetstore.cli.door import connection, is_loopback
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import Claims
from valetstore.grants.native import PARAMETER
from valetstore.keys.ring import INTERNAL_NAME
from valetstore.keys.ringfile import RingFile
from valetstore.signing import Signer, token_for

_PREFIX: Final = "/_valet/echo/"
_SECONDS: Final = 10
_PATHS: Final = {
    "plain": "an ordinary path",
    "a%20b": "an encoded space",
    "a%2Fb": "an encoded slash",
    "a//b": "a double slash",
    "a+b%2Bc": "plus signs",
    "caf%C3%A9": "encoded UTF-8",
    "~'()*!": "characters that need no encoding",
    "a%25b": "an encoded percent sign",
}


def probe(url: str, ring: RingFile, *, direct: bool) -> list[str]:
    """Faults found on the way through `url`, one sentence each; [] where requests arrive as they were sent.

    `direct` says that it is the gateway's own listener, not what its clients are told.
    """
    verified = not (direct and is_loopback(url))
    try:
        token = _token(ring)
    except ConfigInvalid as error:
        return [str(error)]
    faults = []
    for path, what in _PATHS.items():
        fault = _probe(url, f"{_PREFIX}{path}", what, token, verified)
        if fault:
            faults.append(fault)
            if fault.startswith("cannot be reached"):
                break
    return faults


def _token(ring: RingFile) -> str:
    now = int(time.time())
    claims = Claims(exp=now + 60, iat=now, ops=["read"], prefix=_PREFIX)
    return token_for(Signer.from_ring(ring, INTERNAL_NAME), claims)


def _probe(url: str, path: str, what: str, token: str, verified: bool) -> str:
    """ "" where the request arrived as sent, else what became of it."""
    parts = urlsplit(url)
    try:
        status, text = _get(url, f"{path}?{PARAMETER}={token}", verified)
    except ssl.SSLCertVerificationError as error:
        return (
            f"cannot be reached: {url}: its certificate is not trusted: {error.verify_message}; "
            "where it is signed by an authority of your own, name that one's file in SSL_CERT_FILE"
        )
    except ssl.SSLError as error:
        return f"cannot be reached: {url}: TLS fails: {error.reason or error}"
    except (OSError, http.client.HTTPException) as error:
        return f"cannot be reached: {url}: {error}"
    try:
        facts = json.loads(text)
        arrived, host, https = facts["raw_path"], facts["host"], facts["https"]
    except (ValueError, KeyError, TypeError):
        return f"{what} ({path}) is answered {status}, not by this gateway or not as it was signed"
    if arrived != path:
        return f"{what} arrives as {arrived} instead of {path}"
    if host != parts.netloc:
        return f"Host arrives as {host!r} instead of {parts.netloc!r}"
    if https != (parts.scheme == "https"):
        return f"the gateway takes it for {'HTTPS' if https else 'plain HTTP'}: X-Forwarded-Proto or trusted-proxies"
    return ""


def _get(url: str, target: str, verified: bool) -> tuple[int, bytes]:
    asked = connection(url, _SECONDS, verified=verified)
    try:
        asked.request("GET", target)
        response = asked.getresponse()
        return response.status, response.read()
    finally:
        asked.close()
