"""Our own signer: what Azure's SDK signs for the same, and what the command line makes of METHOD, PATH and options."""

import json
import time
from ipaddress import ip_address
from typing import Any

import pytest
from azure.storage.blob._shared_access_signature import BlobSharedAccessSignature

from tests.grants.azure.stranger import (
    ACCOUNT,
    NOW,
    account_key,
    admit,
    arriving,
    mac,
    parameters,
    refusal,
    ring,
    secret,
)
from valetstore.cli.sign_azure import sign_azure
from valetstore.cli.wanted import Asked, Wanted
from valetstore.config import Config
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.azure import sign
from valetstore.grants.grant import Profile
from valetstore.inbound import Inbound
from valetstore.keys.ring import SigningKey
from valetstore.signing import SigningRefused

KEY = sign.Key(ACCOUNT, secret())
TERMS = sign.Terms("rw", NOW + 3600, NOW, "192.0.2.1-192.0.2.9", https=True)
SAME = {"start": "2027-01-15T08:00:00Z", "expiry": "2027-01-15T09:00:00Z", "ip": TERMS.addresses, "protocol": "https"}
RESPONSE = {
    "cache-control": "no-store",
    "content-disposition": 'attachment; filename="ü+1.txt"',
    "content-encoding": "x",
    "content-language": "de",
    "content-type": "text/plain",
}
BASE_URL = "http://127.0.0.1:9000"


SDK = BlobSharedAccessSignature(ACCOUNT, account_key())
# It signs its own newest version; here, ours.
SDK.x_ms_version = sign.VERSION


def same(ours: str, theirs: str) -> bool:
    return parameters(f"?{ours}") == parameters(f"?{theirs}")


@pytest.mark.parametrize("name", ["cat.jpg", "a b+c.jpg", "ü/ñ.txt", "100%", "a%20b"])
def test_what_is_signed_is_what_azures_sdk_signs(name: str) -> None:
    more: dict[str, Any] = SAME | {"permission": "rw"}
    terms = TERMS._replace(response=RESPONSE)
    headers: dict[str, Any] = {header.replace("-", "_"): value for header, value in RESPONSE.items()}
    theirs = SDK.generate_blob("photos", name, **more, **headers)
    assert same(sign.blob_sas(KEY, terms, "photos", name), theirs)
    theirs = SDK.generate_container("photos", **more, **headers)
    assert same(sign.container_sas(KEY, terms, "photos"), theirs)
    theirs = SDK.generate_blob("photos", name, is_directory=True, **more, **headers)
    assert same(sign.directory_sas(KEY, terms, "photos", name), theirs)
    assert same(sign.account_sas(KEY, TERMS), SDK.generate_account("b", "sco", **more))


def test_the_least_that_can_be_signed() -> None:
    query = sign.blob_sas(KEY, sign.Terms("r", NOW + 3600), "photos", "cat.jpg")
    assert set(parameters(f"?{query}")) == {"sv", "se", "sp", "sr", "sig"}
    admit(arriving("GET", f"{BASE_URL}/{ACCOUNT}/photos/cat.jpg?{query}"))


def test_a_key_does_not_show_its_secret() -> None:
    assert account_key() not in repr(KEY)
    assert repr(secret()) not in repr(KEY)


# The command line


def key(**profile: Any) -> SigningKey:
    found = ring(Profile(**profile)).named("key1")
    assert found is not None
    return found


class Printed:
    """What the command printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.errors = ""

    def __call__(self, method: str, path: str, asked: Asked | None = None, **more: Any) -> dict[str, Any]:
        """As JSON; `signing` is the signing key."""
        sign_azure(Config(), more.pop("signing", key()), wanted(method, path, asked, **more), as_json=True)
        made: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return made

    def text(self, method: str, path: str) -> str:
        sign_azure(Config(), key(), wanted(method, path), as_json=False)
        out, self.errors = self._capsys.readouterr()
        return out


def wanted(method: str, path: str, asked: Asked | None = None, *, expires: int = 900, **terms: Any) -> Wanted:
    return Wanted(method, path, expires, BASE_URL, terms, asked or Asked())  # type: ignore[arg-type]


@pytest.fixture
def signed(capsys: pytest.CaptureFixture[str]) -> Printed:
    return Printed(capsys)


def sent(made: dict[str, Any], *, change: tuple[str, str] = ("", ""), **more: Any) -> Inbound:
    return arriving(made["method"], made["url"].replace(*change), made["headers"], now=time.time(), **more)


@pytest.mark.parametrize("name", ["cat.jpg", "a b+c.jpg", "ü/ñ.txt", "100%", "a//b", "q?x&y=z#1", "'()*!"])
@pytest.mark.parametrize(("method", "letters"), [("GET", "r"), ("HEAD", "r"), ("PUT", "w"), ("DELETE", "d")])
def test_a_methods_permission_on_one_blob(signed: Printed, method: str, letters: str, name: str) -> None:
    made = signed(method, f"/photos/{name}")
    intent, _ = admit(sent(made))
    assert (made["method"], intent.path) == (method, f"/photos/{name}")
    said = parameters(made["url"])
    assert (said["sp"], said["sr"]) == (letters, "b")
    assert made["account_name"] == ACCOUNT
    assert abs(made["expires_at"] - time.time() - 900) < 60
    assert made["headers"] == ({"x-ms-blob-type": "BlockBlob"} if method == "PUT" else {})


def test_a_list_is_a_containers_or_a_directorys(signed: Printed) -> None:
    made = signed("LIST", "/photos/")
    assert (made["method"], parameters(made["url"])["sr"]) == ("GET", "c")
    assert admit(sent(made))[0].path == "/photos/"
    made = signed("LIST", "/photos/a b/c/")
    said = parameters(made["url"])
    assert (said["sr"], said["sdd"], said["prefix"]) == ("d", "2", "a b/c/")
    assert admit(sent(made))[0].path == "/photos/a b/c/"


def test_a_prefix_is_a_containers_or_a_directorys(signed: Printed) -> None:
    made = signed("GET", "/photos/", prefix=True)
    assert parameters(made["url"])["sr"] == "c"
    admit(sent(made, change=("/photos/?", "/photos/any/thing?")))
    made = signed("PUT", "/photos/a b/", prefix=True)
    assert parameters(made["url"])["sdd"] == "1"
    admit(sent(made, change=("/a%20b/?", "/a%20b/c/d?")))
    assert refusal(sent(made, change=("/a%20b/?", "/a%20bc/d?"))).code == "signature_mismatch"


def test_an_accounts_sas_opens_by_letters_what_the_account_has(signed: Printed) -> None:
    for method, path in (("GET", "/photos/x"), ("LIST", "/photos/"), ("LIST", "/photos/a/"), ("LIST", "/")):
        made = signed(method, path, Asked(account=True, permissions="rl"))
        assert {"ss", "srt"} <= parameters(made["url"]).keys()
        admit(sent(made))
    made = signed("GET", "/", Asked(account=True), prefix=True)
    admit(sent(made, change=(f"/{ACCOUNT}/?", f"/{ACCOUNT}/any/blob?")))


def test_each_term_that_a_sas_has_is_signed(signed: Printed) -> None:
    made = signed("GET", "/photos/x", networks=["192.0.2.0/24"], https=True, filename="ü 1.txt")
    said = parameters(made["url"])
    assert (said["sip"], said["spr"]) == ("192.0.2.0-192.0.2.255", "https")
    assert said["rscd"].startswith("attachment; filename=")
    admit(sent(made, peer=ip_address("192.0.2.200"), tls=True))
    assert refusal(sent(made, peer=ip_address("192.0.3.1"), tls=True)).code == "source_not_allowed"
    assert parameters(signed("GET", "/photos/x", networks=["192.0.2.7"])["url"])["sip"] == "192.0.2.7"
    assert parameters(signed("GET", "/photos/x", inline=True)["url"])["rscd"] == "inline"
    later = signed("GET", "/photos/x", start=time.time() + 500)
    assert refusal(sent(later)).code == "key_not_yet_valid"
    assert abs(later["expires_at"] - time.time() - 1400) < 60
    create = signed("PUT", "/photos/x", create_only=True)
    assert parameters(create["url"])["sp"] == "c"
    assert admit(sent(create))[1].grant.create_only
    assert parameters(signed("PUT", "/photos/x", Asked(permissions="rcw"))["url"])["sp"] == "rcw"


def test_for_a_person_it_prints_the_url_and_what_to_send(signed: Printed) -> None:
    assert signed.text("PUT", "/photos/x").startswith(f"{BASE_URL}/{ACCOUNT}/photos/x?")
    assert signed.errors == "Send it with the header x-ms-blob-type: BlockBlob\n"


@pytest.mark.parametrize(
    ("option", "method", "path", "more"),
    [
        ("--once, --uses", "GET", "/photos/x", {"uses": 1}),
        ("--length", "PUT", "/photos/x", {"length": (1, 5)}),
        ("--type", "PUT", "/photos/x", {"types": ["image/*"]}),
        ("--budget", "GET", "/photos/x", {"budget": {"rate": 1}}),
        ("--sha256", "PUT", "/photos/x", {"sha256": "0" * 64}),
        ("--sub", "GET", "/photos/x", {"subject": "ann"}),
        ("--aud", "GET", "/photos/x", {"audience": "x"}),
        ("--create-only", "GET", "/photos/x", {"create_only": True}),
        ("--create-only", "PUT", "/photos/x", {"create_only": True, "asked": Asked(permissions="w")}),
        ("--ip", "GET", "/photos/x", {"networks": ["192.0.2.1", "192.0.2.2"]}),
        ("--filename", "PUT", "/photos/x", {"filename": "x"}),
        ("--filename", "GET", "/photos/x", {"filename": "x", "asked": Asked(account=True)}),
        ("--prefix", "GET", "/", {"prefix": True}),
        ("--permissions", "GET", "/photos/x", {"asked": Asked(permissions="wr")}),
        ("--permissions", "GET", "/photos/x", {"asked": Asked(permissions="t")}),
        ("--permissions", "GET", "/photos/x", {"asked": Asked(permissions="racwd", account=True)}),
        ("PATH", "GET", "/photos/a//", {"prefix": True}),
    ],
)
def test_what_no_sas_can_say_is_refused_by_name(option: str, method: str, path: str, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match=f"^{option}"):
        sign_azure(Config(), key(), wanted(method, path, **more), as_json=True)


@pytest.mark.parametrize(
    ("profile", "method", "path", "more"),
    [
        ({"operations": ("read",)}, "PUT", "/photos/x", {}),
        ({"operations": ("read",)}, "GET", "/photos/x", {"asked": Asked(permissions="rd")}),
        ({"prefixes": ("/photos/",)}, "GET", "/other/x", {}),
        ({"prefixes": ("/photos/a/",)}, "GET", "/photos/", {"prefix": True}),
        ({"ttl_seconds_max": 60}, "GET", "/photos/x", {}),
        ({"networks": ("192.0.2.0/24",)}, "GET", "/photos/x", {"networks": ["198.51.100.1"]}),
    ],
)
def test_what_the_profile_forbids_is_not_signed(
    profile: dict[str, Any], method: str, path: str, more: dict[str, Any]
) -> None:
    with pytest.raises(SigningRefused):
        sign_azure(Config(), key(**profile), wanted(method, path, **more), as_json=True)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/photos"), ("GET", "/photos/../x"), ("LIST", "/"), ("LIST", "/a")]
)
def test_a_path_that_opens_nothing_is_refused(method: str, path: str) -> None:
    with pytest.raises((Denied, ConfigInvalid)):
        sign_azure(Config(), key(), wanted(method, path), as_json=True)


def test_the_strangers_signer_by_hand_is_ours_and_the_sdks() -> None:
    """Three who agree."""
    text = f"r\n\n2027-01-15T09:00:00Z\n/blob/{ACCOUNT}/photos/x\n\n\n\n{sign.VERSION}\nb\n\n\n\n\n\n\n"
    ours = parameters("?" + sign.blob_sas(KEY, sign.Terms("r", NOW + 3600), "photos", "x"))["sig"]
    assert mac(text) == ours
