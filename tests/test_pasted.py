"""A key is found in whatever people paste, and proven as the gateway proves it."""

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minting import NOW, claims, minter, perhaps_refused, refused, ring
from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Intent, Proof
from valetstore.grants.native import Audience, Native
from valetstore.grants.scheme import Credential, Scheme
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.pasted import BYTES_MAX, METHODS, prove, read

TOKEN: Final = minter().token(claims(jti="one"))
OTHER: Final = minter().token(claims(jti="two"))


def proof(text: str, schemes: Sequence[Scheme] = (Native(),)) -> Proof:
    """What is proven of a pasted text."""
    return prove(text, schemes, ring(), NOW)


def bearer(token: str) -> Inbound:
    """The plainest request with that token."""
    return Inbound("GET", b"/photos/cat.jpg", ((b"authorization", b"Bearer " + token.encode()),), now=NOW)


SAME: Final = proof(TOKEN).grant


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"  {TOKEN}\n",
        f"Bearer {TOKEN}",
        f"bearer   {TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        f"authorization:Bearer {TOKEN}\r\n",
        f"Cookie: theme=dark; valet={TOKEN}",
        f"valet={TOKEN}",
        f"?valet={TOKEN}",
        f"?list&valet={TOKEN}",
        f"/photos/cat.jpg?valet={TOKEN}",
        f"/?valet={TOKEN}",
        f"http://127.0.0.1:8420/photos/cat.jpg?valet={TOKEN}",
        f"https://files.example.com/photos/cat.jpg?download=1&valet={TOKEN}#page=2",
        f"HTTPS://files.example.com?valet={TOKEN}",
        f"https://[::1]:8420/photos/caf\u00e9 1.jpg?valet={TOKEN}",
        f"'https://files.example.com/photos/cat.jpg?valet={TOKEN}'",
        f'"https://files.example.com/photos/cat.jpg?valet={TOKEN}"',
        f"<https://files.example.com/photos/cat.jpg?valet={TOKEN}>",
        json.dumps({"url": "https://files.example.com/photos/", "cookies": {"valet": TOKEN}, "expires_at": 1}),
    ],
)
def test_every_way_of_writing_a_key_is_the_same_key(text: str) -> None:
    assert proof(text).grant == SAME


def test_time_is_not_judged() -> None:
    assert proof(minter().token(claims(exp=1))).grant.not_after == 1
    assert proof(minter().token(claims(nbf=NOW + 10**6))).grant.not_before == NOW + 10**6


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_key_of_any_algorithm(algorithm: str) -> None:
    assert proof(f"/x?valet={minter(algorithm).token()}").grant.signing_key == algorithm.lower()


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "key_missing", "Nothing was pasted"),
        (" \n", "key_missing", "Nothing was pasted"),
        ("''", "key_missing", "Nothing was pasted"),
        ("https://files.example.com/photos/cat.jpg", "key_missing", "no key in what was pasted"),
        ("/photos/cat.jpg?valte=x", "key_missing", "no key in what was pasted"),
        ("User-Agent: curl", "key_missing", "no key in what was pasted"),
        ("ftp://files.example.com/x", "key_missing", "no key in what was pasted"),
        ("nonsense", "key_malformed", "no key in what was pasted"),
        ("a.b.c", "key_malformed", "not a signed JWT"),
        ("Digest username=x", "key_malformed", "Authorization scheme is not known"),
        (f"/x?valet={TOKEN}&valet={OTHER}", "key_ambiguous", "one place"),
        (f"/x?valet={TOKEN[:-8]}AAAAAAAA", "signature_mismatch", "exactly as it was signed"),
        (TOKEN[:40], "key_malformed", ""),
        (TOKEN.rpartition(".")[0] + ".", "signature_mismatch", ""),
        (f"https:///x?valet={TOKEN}", "key_malformed", "no host"),
        ("{", "key_malformed", "JSON has `url`"),
        ('{"url": "https://h/x"}', "key_malformed", "JSON has `url`"),
        ('{"fields": {"policy": "x"}}', "key_malformed", "JSON has `url`"),
        ('{"url": "https://h/x", "fields": {"a": "b"}, "cookies": {"a": "b"}}', "key_malformed", "JSON has `url`"),
        ('{"url": "https:///x", "fields": {"policy": "x"}}', "key_malformed", "no host"),
        ('{"url": "https://h/x", "fields": {"policy": "x"}}', "key_missing", "no key in what was pasted"),
        (f"https://[::1/x?valet={TOKEN}", "key_malformed", "no host"),
        (f"/x%zz?valet=%zz{TOKEN}", "target_invalid", ""),
        ("/x?" + "a" * BYTES_MAX, "key_malformed", "longer"),
    ],
)
def test_what_is_no_key_says_what_is_wrong(text: str, code: str, said: str) -> None:
    with refused(code, said) as denied:
        proof(text)
    assert TOKEN[:20] not in denied.text


def test_a_stranger_to_the_ring_does_not_hold() -> None:
    with refused("signature_mismatch"):
        prove(TOKEN, [Native()], KeyRing(), NOW)


def test_the_gateways_settings_count() -> None:
    with refused("key_malformed", "`aud`"):
        proof(TOKEN, [Native(audience=Audience("files", required=True))])


def test_host_and_target_stay_as_they_were_pasted() -> None:
    pasted = read("https://Files.Example.com:443/a%2Fb//c+d~|x?X-Sig=a/b+c%2B=&&y#frag")
    assert pasted.host == "Files.Example.com:443"
    assert pasted.target == b"/a%2Fb//c+d~|x?X-Sig=a/b+c%2B=&&y"
    assert pasted.tls
    inbound = pasted.request("PUT", NOW)
    assert (inbound.method, inbound.host, inbound.tls, inbound.target) == ("PUT", pasted.host, True, pasted.target)
    assert read("http://h?a=1").target == b"/?a=1"
    assert not read("http://h").tls
    assert read("/x?").target == b"/x?"
    assert read("https://h/caf\u00e9 x?q=\u00e9").target == b"/caf%C3%A9%20x?q=%C3%A9"


def test_a_form_is_what_a_browser_sends() -> None:
    form = {"url": "https://Files.Example.com/photos", "fields": {"Key": "a", "Policy": "p", "file": "gone"}}
    pasted = read(json.dumps(form))
    assert pasted.form == (("key", "a"), ("policy", "p"), ("file", "file"))
    assert (pasted.host, pasted.target, pasted.tls, tuple(pasted.methods)) == (
        "Files.Example.com", b"/photos", True, ("POST",),
    )  # fmt: skip
    assert pasted.request("POST", NOW).form == pasted.form


# --- a dialect that signs the method, the host and the path -------------------------------------------


@dataclass
class Bound:
    """A dialect whose keys hold for one method, host and target; it counts how often it is asked."""

    method: str
    host: str
    path: bytes
    name: str = "bound"
    signs_method: bool = True
    marks: frozenset[str] = frozenset({"sig"})
    asked: list[str] = field(default_factory=list)

    def recognises(self, inbound: Inbound) -> list[Credential]:
        return [Credential(self, "query", value) for value in inbound.parameters("sig")]

    def intent(self, inbound: Inbound) -> Intent:
        return Intent("read", inbound.path)

    def covered(self, inbound: Inbound, credential: Credential) -> None:
        return None

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing, _intent: Intent | None = None) -> Proof:
        self.asked.append(inbound.method)
        if credential.text == "broken":
            raise Denied("key_malformed", "Its `sig` is broken.")
        if (inbound.method, inbound.host, inbound.raw_path) != (self.method, self.host, self.path):
            raise Denied("signature_mismatch")
        found = next(iter(keys))
        grant = Grant(
            scheme=self.name,
            signing_key=found.name,
            identity=b"0" * 16,
            operations=frozenset({"read"}),
            scopes=(),
            not_after=NOW,
        )
        return Proof(grant, found.limits)


@pytest.mark.parametrize("method", METHODS)
def test_a_signed_method_is_found(method: str) -> None:
    scheme = Bound(method, "b.example.com", b"/a%2Fb")
    assert proof("https://b.example.com/a%2Fb?sig=x", [Native(), scheme]).grant.scheme == "bound"
    assert scheme.asked == list(METHODS[: METHODS.index(method) + 1])


def test_another_method_host_or_path_does_not_hold() -> None:
    for scheme in (
        Bound("PATCH", "b.example.com", b"/a"),
        Bound("GET", "B.example.com", b"/a"),
        Bound("GET", "b.example.com", b"/%61"),
    ):
        with refused("signature_mismatch"):
            proof("https://b.example.com/a?sig=x", [scheme])
        assert scheme.asked == list(METHODS)


def test_what_is_malformed_is_not_tried_again() -> None:
    scheme = Bound("POST", "h", b"/a")
    with refused("key_malformed", "`sig` is broken"):
        proof("https://h/a?sig=broken", [scheme])
    assert scheme.asked == ["GET"]


def test_keys_of_two_dialects_are_ambiguous() -> None:
    with refused("key_ambiguous"):
        proof(f"https://h/a?sig=x&valet={TOKEN}", [Native(), Bound("GET", "h", b"/a")])


# --- whatever is pasted --------------------------------------------------------------------------------

CODES: Final = ("key_missing", "key_malformed", "key_ambiguous", "signature_mismatch", "target_invalid")
pieces = st.sampled_from(
    [
        "https://",
        "http://h",
        "/",
        "?",
        "#",
        "valet=",
        "Bearer ",
        "Authorization: ",
        TOKEN,
        TOKEN[:30],
        "%",
        "&",
        "'",
        ":",
    ]
)


@given(st.lists(pieces | st.text(max_size=8) | st.text(string.printable, max_size=8), max_size=8).map("".join))
def test_anything_is_a_key_or_a_refusal(text: str) -> None:
    with perhaps_refused(*CODES):
        assert proof(text).grant.identity == SAME.identity


@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_any_text_at_all(text: str) -> None:
    for around in ("{}", "https://h/{}", "https://{}/", "/{}", "X: {}"):
        with perhaps_refused(*CODES):
            proof(around.format(text))
