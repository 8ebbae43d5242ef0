"""Google's published vectors, artefact by artefact: canonical request, string to sign, signature, URL, policy."""

import base64
import json
import os
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.grants.gcs.stranger import posted
from valetstore.grants import sigv4
from valetstore.grants.gcs import Gcs, Rules, v4
from valetstore.grants.grant import Profile
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.policy.request import enforce

RULES = Rules(hosts=("storage.googleapis.com",))


def cases(name: str) -> list[Any]:
    """The cases of one kind; one that is skipped where no folder of vectors is named."""
    folder = os.environ.get("VALETSTORE_VECTORS")
    if not folder:
        return [pytest.param({}, {}, marks=pytest.mark.skip("VALETSTORE_VECTORS names no folder"))]
    suite = json.loads(Path(folder, "gcs_v4.json").read_text())
    return [pytest.param(suite, case, id=case["description"]) for case in suite[name]]


@cache
def ring_of(email: str, public_key: str) -> KeyRing:
    """The account that signed them."""
    return KeyRing([record_of("vectors", "RSA", Profile(), kid=email, public_key=public_key, scheme="gcs")])


def moment(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def arriving(case: dict[str, Any], url: str, now: float) -> Inbound:
    """The request that a case signs. One of its headers has a name that no HTTP server would let in."""
    parts = urlsplit(url)
    headers = {"Host": parts.netloc} | case.get("headers", {})
    head = f"{case['method']} {parts.path}?{parts.query} HTTP/1.1\n"
    if all("/" not in name for name in headers):
        return Inbound.from_raw(
            (head + "".join(f"{name}: {value}\n" for name, value in headers.items()) + "\n").encode(), now=now
        )
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return Inbound(case["method"], f"{parts.path}?{parts.query}".encode(), raw, now=now)


@pytest.mark.parametrize(("suite", "case"), cases("signingV4Tests"))
def test_urls(suite: dict[str, Any], case: dict[str, Any]) -> None:
    keys, now = ring_of(suite["client_email"], suite["public_key_pem"]), moment(case["timestamp"])
    inbound = arriving(case, case["expectedUrl"], now)
    claim = v4.claim_of(inbound)
    canonical = sigv4.canonical_request(claim.scope.family, claim.signed, inbound)
    assert canonical.decode() == case["expectedCanonicalRequest"]
    text = sigv4.string_to_sign(claim.scope.family, claim.signed, canonical)
    assert text.decode() == case["expectedStringToSign"]
    query = dict(parse_qsl(urlsplit(case["expectedUrl"]).query))
    assert (claim.signed.signature.hex(), claim.life) == (query["X-Goog-Signature"], case["expiration"])
    scheme = Gcs(RULES)
    proof = scheme.verify(inbound, recognise(inbound, [scheme]), keys)
    enforce(proof.grant, scheme.intent(inbound), inbound)
    name = f"/{case['bucket']}/{case.get('object', '')}"
    assert str(proof.grant.scopes[0][0]).removeprefix("everything below ") == name
    # The URL is the canonical request's path and query, with the signature behind it.
    lines = case["expectedCanonicalRequest"].split("\n")
    host = urlsplit(case["expectedUrl"]).netloc
    made = f"{case['scheme']}://{host}{lines[1]}?{lines[2]}&X-Goog-Signature={claim.signed.signature.hex()}"
    assert made == case["expectedUrl"]


@pytest.mark.parametrize(("suite", "case"), cases("signingV4Tests"))
def test_another_account_opens_none_of_them(suite: dict[str, Any], case: dict[str, Any]) -> None:
    inbound = arriving(case, case["expectedUrl"], moment(case["timestamp"]))
    assert v4.made_by(v4.claim_of(inbound), inbound, RULES, KeyRing()) is None
    keys = ring_of(suite["client_email"], suite["public_key_pem"])
    later = arriving(case, case["expectedUrl"].replace("X-Goog-Expires=", "X-Goog-Expires=1"), inbound.now)
    assert v4.made_by(v4.claim_of(later), later, RULES, keys) is None


@pytest.mark.parametrize(("suite", "case"), cases("postPolicyV4Tests"))
def test_policies(suite: dict[str, Any], case: dict[str, Any]) -> None:
    keys, given = ring_of(suite["client_email"], suite["public_key_pem"]), case["policyInput"]
    output = case["policyOutput"]
    assert base64.b64decode(output["fields"]["policy"]).decode() == output["expectedDecodedPolicy"]
    inbound = posted(output["fields"], path=urlsplit(output["url"]).path, now=moment(given["timestamp"]))
    scheme = Gcs(RULES)
    intent, proof = scheme.intent(inbound), scheme.verify(inbound, recognise(inbound, [scheme]), keys)
    enforce(proof.grant, intent, inbound)
    assert intent.path == f"/{given['bucket']}/{given['object']}"
    length = given.get("conditions", {}).get("contentLengthRange")
    assert (proof.grant.length_min, proof.grant.length_max) == (tuple(length) if length else (0, None))
