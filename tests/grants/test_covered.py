"""What a dialect says its verification goes by is all of it: requests alike in that are proven, or refused, alike."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.held_keys import HOST, NOW, Held, held, outcome, ring, schemes
from valetstore.errors import Denied
from valetstore.grants.covered import _UNREAD
from valetstore.grants.grant import Proof
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound

KINDS = list(held())
FOR_ONCE = {"S3 V4 session"}

# Names that some dialect reads, that none does, and some in another case; values that mean something to one of them.
NAMES = [
    *(name.decode() for name in sorted(_UNREAD)),
    *("Host", "Content-Type", "content-md5", "Content-Length", "Transfer-Encoding", "Date", "expect", "X-Other"),
    *("x-amz-date", "X-Amz-Copy-Source", "x-amz-content-sha256", "x-amz-security-token", "x-amz-meta-a", "x-amz-acl"),
    *("x-goog-meta-a", "x-goog-resumable", "x-goog-copy-source", "X-Goog-Api-Client", "x-goog-content-sha256"),
    *("x-ms-version", "x-ms-copy-source", "X-MS-Blob-Content-Type", "x-ms-client-request-id", "x-valet-uses"),
]
VALUES = ["", "a", "b", " b ", "image/png", "bytes=0-9", "start", "0", "12", HOST, "UNSIGNED-PAYLOAD", "a=b; valet=x"]
PARTS = ["a=b", "valet=x", "uploadId=u", "X-Amz-Date=x", "Expires=1", "sig=x", "versionid=v", "prefix=2", "comp=list"]


@st.composite
def changed(draw: st.DrawFn, base: Held) -> Inbound:
    """The request with some of its components changed, most often one."""
    method, target, headers, tls = base
    host, now = None, float(NOW)
    for what in draw(
        st.lists(st.sampled_from(["method", "target", "query", "header", "value", "other"]), min_size=1, max_size=2)
    ):
        match what:
            case "method":
                method = draw(st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]))
            case "target":
                at = draw(st.integers(1, len(target) - 1))
                bytes_put = draw(st.sampled_from([b"", b"a", b"%2F", b"%41", b"/", b"+", b"="]))
                target = target[:at] + bytes_put + target[at + draw(st.integers(0, 1)) :]
            case "query":
                path, _, query = target.partition(b"?")
                parts = [part for part in query.split(b"&") if part]
                parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from(PARTS)).encode())
                target = path + b"?" + b"&".join(draw(st.permutations(parts)) if draw(st.booleans()) else parts)
            case "header":
                pairs = list(headers)
                at = draw(st.integers(0, len(pairs)))
                put = draw(st.sampled_from(NAMES)).encode(), draw(st.sampled_from(VALUES)).encode()
                pairs[at : at + draw(st.integers(0, 1))] = [put] if draw(st.booleans()) else []
                headers = tuple(pairs)
            case "value":
                at = draw(st.integers(0, len(headers) - 1)) if headers else 0
                headers = tuple(
                    (name, value[:-1] if at == place else value) for place, (name, value) in enumerate(headers)
                )
            case _:
                tls = draw(st.booleans())
                host = draw(st.sampled_from([None, HOST, f"{HOST}:443", f"{HOST.upper()}", "other.example"]))
                now = NOW + draw(st.floats(-1e9, 1e9))
    try:
        return Inbound(method, target, headers, now=now, tls=tls, host=host)
    except Denied:
        return base.inbound


def covered(inbound: Inbound) -> object:
    """Whose key came, and what its verification goes by; None where no key is told, or its proof is for once."""
    try:
        credential = recognise(inbound, schemes())
        by = credential.scheme.covered(inbound, credential)
    except Denied:
        return None
    return None if by is None else (credential.scheme, by)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_opens_its_request(kind: str) -> None:
    """And all but those that end by the clock while they are verified may be remembered."""
    inbound = held()[kind].inbound
    proof = outcome(inbound, ring())
    assert isinstance(proof, Proof), proof
    assert proof.body is None
    assert (covered(inbound) is None) == (kind in FOR_ONCE)
    hash(covered(inbound))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(draw=st.data())
def test_two_requests_alike_in_what_is_covered_have_one_proof_or_one_refusal(kind: str, draw: st.DataObject) -> None:
    base = held()[kind]
    one, other = base.inbound, draw.draw(changed(base))
    if draw.draw(st.booleans()):
        one = draw.draw(changed(base))
    known = covered(one)
    if known is None or known != covered(other):
        return
    found, again = outcome(one, ring()), outcome(other, ring())
    # What is asked is read of each request anew: only what verification says of it counts here.
    if _is_of_intent(one) or _is_of_intent(other):
        return
    assert found == again


def _is_of_intent(inbound: Inbound) -> bool:
    try:
        credential = recognise(inbound, schemes())
        credential.scheme.intent(inbound)
    except Denied:
        return True
    return False


@pytest.mark.parametrize("name", sorted(_UNREAD))
def test_a_header_that_is_left_out_changes_no_proof(name: bytes) -> None:
    """Nor a signature that names it: then it is not left out."""
    for kind, base in held().items():
        if name == b"cookie" and "native" in kind:
            continue
        for value in (b"x", b"bytes=1-2", b"0"):
            with_it = base._replace(headers=(*base.headers, (name.title(), value))).inbound
            assert outcome(with_it, ring()) == outcome(base.inbound, ring()) or covered(with_it) != covered(
                base.inbound
            )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "native" not in kind and kind not in FOR_ONCE])
def test_method_target_host_and_transport_are_covered_where_a_key_is_for_one_request(kind: str) -> None:
    base = held()[kind]
    known = covered(base.inbound)
    others = [
        base._replace(method="HEAD" if base.method == "GET" else "GET").inbound,
        base._replace(target=base.target + b"&a=b" if b"?" in base.target else base.target + b"?a=b").inbound,
        base._replace(target=base.target.replace(b"cat", b"c%61t", 1)).inbound,
        base._replace(tls=False).inbound,
        Inbound(base.method, base.target, base.headers, now=NOW, tls=True, host="other.example"),
        base._replace(headers=(*base.headers, (b"x-amz-meta-b", b"c"))).inbound,
    ]
    assert all(covered(other) != known for other in others)
    assert covered(Inbound(base.method, base.target, base.headers, now=NOW + 9, tls=True)) == known


def test_cookies_are_covered_where_they_are_the_key() -> None:
    base = held()["CloudFront cookies"]
    (host, (name, value)) = base.headers
    for other in (value + b"; a=b", value[:-1], value.replace(b"KEC", b"KRSA")):
        assert covered(base._replace(headers=(host, (name, other))).inbound) != covered(base.inbound)


def test_a_native_key_is_covered_by_its_text_alone() -> None:
    assert len({covered(held()[kind].inbound) for kind in KINDS if "native" in kind}) == 1


@pytest.mark.parametrize("name", ["x-amz-content-sha256", "x-amz-security-token", "X-Amz-Content-SHA256"])
def test_what_a_body_has_to_prove_and_what_the_clock_ends_is_for_once(name: str) -> None:
    base = held()["S3 V4 upload"]
    sent = base._replace(headers=(*base.headers, (name.encode(), b"UNSIGNED-PAYLOAD")))
    said = base._replace(target=base.target + f"&{name}=UNSIGNED-PAYLOAD".encode())
    assert covered(sent.inbound) is covered(said.inbound) is None


def test_forms_are_for_once() -> None:
    for kind in KINDS:
        inbound = held()[kind]._replace(method="POST").inbound.with_form((("policy", "x"), ("signature", "y")))
        for scheme in schemes():
            for credential in scheme.recognises(inbound):
                assert scheme.name in ("native", "azure", "cloudfront") or scheme.covered(inbound, credential) is None
