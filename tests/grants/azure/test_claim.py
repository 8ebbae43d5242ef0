"""What a SAS says, read strictly: which came, each parameter's shape, and every refusal in Azure's words."""

from ipaddress import ip_address
from typing import Any

import pytest
from azure.storage.blob import UserDelegationKey, generate_blob_sas
from hypothesis import given
from hypothesis import strategies as st

from tests.grants.azure.stranger import (
    ACCOUNT,
    BASE,
    END,
    NOW,
    account_key,
    account_url,
    admit,
    arriving,
    blob_url,
    by_hand,
    container_url,
    detail,
    judge,
    parameters,
    refusal,
    url_by_hand,
    with_parameters,
)
from valetstore.config import Config
from valetstore.dialects import schemes_of
from valetstore.errors import Denied
from valetstore.grants.azure import Azure
from valetstore.grants.azure.claim import claim_of
from valetstore.grants.azure.fields import moment_of, networks_of
from valetstore.grants.networks import contains
from valetstore.inbound import Inbound

NOT_WELL_FORMED = "Signature fields not well formed."


def is_malformed(url: str) -> bool:
    """Whether it is refused for its shape, before any key is looked at, as Azure says it."""
    denied = refusal(arriving("GET", url))
    return denied.code == "key_malformed" and detail(denied).startswith(NOT_WELL_FORMED)


# Which came


def test_a_sas_is_recognised_by_its_signature_and_what_stands_beside_it() -> None:
    for url in (blob_url(), container_url(), account_url(), url_by_hand()):
        assert [found.text for found in Azure().recognises(arriving("GET", url))] == ["sas"]
    for query in ("sig=x&sp=r", "sig=x&SV=1", "%73ig=x&se=1", "SIG=x&sr=b", "sig=x&ss=b", "sig=x&sig=y&sv=1"):
        assert len(Azure().recognises(arriving("GET", f"{BASE}/c/b?{query}"))) == 1
    for query in ("", "sig=x", "sv=1&sp=r&se=1", "sig=x&spr=https", "Signature=x&Expires=1", "temp_url_sig=x&sp=r"):
        assert Azure().recognises(arriving("GET", f"{BASE}/c/b?{query}")) == []


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Signature=x&X-Amz-Credential=y",
        "AWSAccessKeyId=x&Signature=y&Expires=1",
        "X-Goog-Signature=x&X-Goog-Credential=y",
        "GoogleAccessId=x&Signature=y&Expires=1",
        "Policy=x&Signature=y&Key-Pair-Id=z",
        "temp_url_sig=x&temp_url_expires=1",
        "valet=x",
    ],
)
def test_it_is_no_other_dialects_and_none_of_theirs_is_it(query: str) -> None:
    schemes = schemes_of(Config())
    (ours,) = (found for scheme in schemes for found in scheme.recognises(arriving("GET", blob_url())))
    assert ours.scheme.name == "azure"
    assert Azure().recognises(arriving("GET", f"{BASE}/c/b?{query}")) == []


@pytest.mark.parametrize("value", ["SharedKey a:b", "SharedKeyLite a:b", "Bearer x.y.z"])
def test_a_signature_of_another_kind_beside_it_is_one_too_many(value: str) -> None:
    inbound = arriving("GET", blob_url(), {"Authorization": value})
    assert refusal(inbound).code == "key_ambiguous"


# Each parameter once


def test_each_parameter_counts_once_however_it_is_written() -> None:
    url = url_by_hand(st="2027-01-01", sip="192.0.2.0-192.0.2.255", spr="https,http", rscc="no-store")
    for name, value in parameters(url).items():
        for again in (name, f"%{ord(name[0]):02x}{name[1:]}", name.upper(), name.capitalize()):
            for other in (value, "x", ""):
                assert is_malformed(f"{url}&{again}={other}"), (again, other)
        assert is_malformed(url.replace(f"{name}=", f"{name.upper()}=", 1))
    admit(arriving("GET", f"{url}&timeout=30&snapshots=&x=1", peer=ip_address("192.0.2.7")))


@pytest.mark.parametrize("name", ["sv", "sp", "se", "sr"])
def test_what_is_mandatory_is_missed(name: str) -> None:
    for value in (None, ""):
        assert is_malformed(with_parameters(url_by_hand(), **{name: value}))


@pytest.mark.parametrize("name", ["st", "sip", "spr", "si", "ses", "rscc", "rsct", "sdd"])
def test_what_is_there_says_something(name: str) -> None:
    """Empty, it would be signed as if it were not there: one URL would have many spellings."""
    assert is_malformed(f"{blob_url()}&{name}=")
    assert is_malformed(f"{blob_url()}&{name}")


def test_what_is_mandatory_is_missed_in_azures_words() -> None:
    assert detail(refusal(arriving("GET", with_parameters(blob_url(), se=None)))).endswith(
        "se is mandatory. Cannot be empty"
    )
    assert detail(refusal(arriving("GET", with_parameters(blob_url(), sp=None)))).endswith(
        "sp is mandatory. Cannot be empty"
    )


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "a\u2028b", "\x85"])
@pytest.mark.parametrize("name", ["sp", "st", "si", "ses", "rscc", "rsct", "sig", "sv"])
def test_no_line_can_be_put_between_those_that_are_signed(name: str, text: str) -> None:
    assert is_malformed(with_parameters(url_by_hand(), **{name: text}))


def test_what_a_kind_does_not_sign_is_no_part_of_it() -> None:
    for name in ("rscc", "rscd", "rsce", "rscl", "rsct", "sr", "si", "sdd"):
        assert is_malformed(with_parameters(account_url(), **{name: "b"}))
    for name in ("ss", "srt"):
        assert is_malformed(with_parameters(blob_url(), **{name: "b"}))
    assert is_malformed(with_parameters(url_by_hand(sv="2020-02-10"), ses="x"))
    assert is_malformed(blob_url() + "&x-valet-uses=1")


@pytest.mark.parametrize("sr", ["", "f", "s", "bb", "B", "cd", "q", "b ", "object"])
def test_resources_of_other_services_are_none(sr: str) -> None:
    assert is_malformed(url_by_hand(sr=sr))


# The signature's text


def test_a_signature_has_one_text() -> None:
    url = blob_url()
    signature = parameters(url)["sig"]
    admit(arriving("GET", with_parameters(url, sig=signature)))
    last = signature[-2]
    other = chr(ord(last) + 1) if last not in "Zz9+/" else "B"
    for text in (
        signature.removesuffix("="),
        signature + "=",
        signature + "\n",
        " " + signature,
        signature[:-2] + other + "=",
        signature.replace("=", "%3D"),
        signature[:20],
        signature.replace("+", "-").replace("/", "_") + "x",
        "",
        "é" * 44,
        "A" * 44,
    ):
        assert is_malformed(with_parameters(url, sig=text)), text


def test_a_plus_that_became_a_space_is_not_guessed() -> None:
    for number in range(200):
        url = url_by_hand(f"{number}")
        if "+" in parameters(url)["sig"]:
            break
    assert is_malformed(with_parameters(url, sig=parameters(url)["sig"].replace("+", " ")))
    admit(arriving("GET", url.replace("%2B", "+")))


# Permissions


@pytest.mark.parametrize(
    "sp", ["r", "racwd", "racwdxltmeop", "racwdxyltfmeopi", "rl", "wd", "racwdxltmeiyf", "racwdxtmeiy", "t", "cw", "xr"]
)
def test_permissions_of_a_service_sas_as_sdks_write_them(sp: str) -> None:
    """What came after the first six stands where each SDK puts it."""
    judge(arriving("GET", url_by_hand(sp=sp)))


@pytest.mark.parametrize(
    "sp", ["wr", "dr", "lr", "dw", "rr", "rR", "R", "z", "r ", "u", "rwc", "racwdlr", "r,w", "\u03c1"]
)
def test_permissions_out_of_order_or_unknown_are_refused(sp: str) -> None:
    assert is_malformed(url_by_hand(sp=sp))


def account_by_hand(path: str = "/photos/cat.jpg?", **values: str) -> str:
    return f"{BASE}{path}" + by_hand({"ss": "b", "srt": "sco", "sp": "r", "se": END, **values})


@pytest.mark.parametrize("sp", ["r", "rwdlacup", "rwdxylacupfti", "rwdxftlacupiy", "rwdxlacuptfi", "wlc"])
def test_permissions_of_an_account_sas_as_sdks_write_them(sp: str) -> None:
    judge(arriving("GET", account_by_hand(sp=sp)))


@pytest.mark.parametrize("sp", ["wr", "rdw", "racwd", "rcl", "rwdlacupz", "rr", "e", "m"])
def test_an_accounts_order_is_its_own(sp: str) -> None:
    assert is_malformed(account_by_hand(sp=sp))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("ss", ["bqtf", "fb", "b"], ["x", "bb", "B", "b,q"]), ("srt", ["s", "co", "sco", "ocs"], ["b", "ss", "S", "s,c"])],
)
def test_services_and_resource_types_are_letters(name: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        judge(arriving("GET", account_by_hand(**{name: text})))
    for text in (*bad, ""):
        assert is_malformed(account_by_hand(**{name: text}))
    assert is_malformed(with_parameters(account_url(), **{name: None}))


# Dates


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-15", 1_799_971_200),
        ("2027-01-15T08:00Z", NOW),
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T08:00:00.0000000Z", NOW),
        ("2027-01-15T08:00:00.5Z", NOW + 0.5),
        ("2027-01-15T08:00:01.2500000Z", NOW + 1.25),
        ("0001-01-01", -62_135_596_800),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        ("2028-02-29", 1_835_395_200),
    ],
)
def test_dates(text: str, moment: float) -> None:
    assert moment_of(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-1-15",
        "2027-01-15T08Z",
        "2027-01-15T08:00",
        "2027-01-15T08:00:00",
        "2027-01-15T08:00:00+00:00",
        "2027-01-15T08:00:00z",
        "2027-01-15 08:00:00Z",
        "2027-01-15T08:00:00.Z",
        "2027-01-15T08:00:00.12345678Z",
        "2027-01-15T24:00Z",
        "2027-01-15T08:60Z",
        "2027-01-15T08:00:60Z",
        "2027-02-29",
        "2027-13-01",
        "0000-01-01",
        "20270115",
        "2027-01-15Z",
        "1800000000",
        "\uff12\uff10\uff12\uff17-01-15",
        "2027-01-15\n",
        "2027-W02-5",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    assert moment_of(text) is None
    for name in ("st", "se"):
        assert is_malformed(url_by_hand(**{name: text}))


@given(st.text(max_size=30))
def test_a_date_is_read_or_refused(text: str) -> None:
    assert moment_of(text) is None or text[:4].isdigit()


# Addresses


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.8", "2001:db8::1"]),
        ("168.1.5.60-168.1.5.70", ["168.1.5.60", "168.1.5.65", "168.1.5.70"], ["168.1.5.59", "168.1.5.71", "::1"]),
        ("0.0.0.0-255.255.255.255", ["0.0.0.0", "8.8.8.8", "255.255.255.255"], ["::1"]),
        ("192.0.2.7-192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("2001:db8::1", ["2001:db8::1"], ["2001:db8::2"]),
        ("2001:db8::a-2001:db8::1:0", ["2001:db8::a", "2001:db8::ffff"], ["2001:db8::9", "2001:db8::1:1", "1.2.3.4"]),
        ("::ffff:192.0.2.1-192.0.2.3", ["192.0.2.2"], ["192.0.2.4"]),
    ],
)
def test_an_address_or_a_range(text: str, inside: list[str], outside: list[str]) -> None:
    networks = networks_of(text)
    assert all(contains(networks, ip_address(one)) for one in inside)
    assert not any(contains(networks, ip_address(one)) for one in outside)
    for one in inside:
        admit(arriving("GET", url_by_hand(sip=text), peer=ip_address(one)))
    for peer in (*map(ip_address, outside), None):
        assert refusal(arriving("GET", url_by_hand(sip=text), peer=peer)).code == "source_not_allowed"


@pytest.mark.parametrize(
    "text",
    [
        "ip",
        "192.0.2.0/24",
        "192.0.2.9-192.0.2.1",
        "192.0.2.1-2001:db8::1",
        "192.0.2.1-",
        "-192.0.2.1",
        "192.0.2.1,192.0.2.2",
        "192.0.2.1 - 192.0.2.2",
        "192.0.2.01",
        "192.0.2",
        "fe80::1%25eth0",
        "fe80::1%eth0",
        "192.0.2.1-192.0.2.2-192.0.2.3",
        "١٩٢.0.2.1",
        "1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert is_malformed(url_by_hand(sip=text))


@given(st.text("0123456789abcdef.:-%/", max_size=40))
def test_an_address_is_read_or_refused(text: str) -> None:
    code = ""
    try:
        found = networks_of(text)
    except Denied as denied:
        code = denied.code
    assert code == "key_malformed" or found


@pytest.mark.parametrize("text", ["http", "http,https", "HTTPS", "https, http", "https,", "ftp"])
def test_protocols_are_https_or_both(text: str) -> None:
    assert is_malformed(url_by_hand(spr=text))


def test_https_alone_holds() -> None:
    admit(arriving("GET", url_by_hand(spr="https"), tls=True))
    assert refusal(arriving("GET", url_by_hand(spr="https"))).code == "https_required"
    admit(arriving("GET", url_by_hand(spr="https,http")))


# What cannot be given here


def test_a_stored_policy_is_unknown_and_only_who_signed_is_told() -> None:
    """A policy may say what the SAS then does not."""
    values: dict[str, Any]
    for values in ({"si": "p1"}, {"si": "p1", "sp": "r"}, {"si": "p1", "sp": "r", "se": END}):
        url = f"{BASE}/photos/cat.jpg?" + by_hand({"sr": "b", **values})
        denied = refusal(arriving("GET", url))
        assert (denied.code, detail(denied)) == ("key_malformed", "The stored access policy 'p1' does not exist.")
        assert denied.evidence["signing_key"] == "key1"
        assert refusal(arriving("GET", with_parameters(url, si="p2"))).code == "signature_mismatch"


def test_a_user_delegation_key_is_named() -> None:
    key = UserDelegationKey()  # type: ignore[no-untyped-call]
    key.signed_oid = key.signed_tid = "00000000-0000-0000-0000-000000000000"
    key.signed_start, key.signed_expiry = "2027-01-15T07:00:00Z", END
    key.signed_service, key.signed_version, key.value = "b", "2022-11-02", account_key()
    query = generate_blob_sas(ACCOUNT, "photos", "cat.jpg", user_delegation_key=key, permission="r", expiry=END)
    denied = refusal(arriving("GET", f"{BASE}/photos/cat.jpg?{query}"))
    assert denied.code == "key_malformed"
    assert "user delegation key" in denied.text
    for name in ("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "sduoid", "srh", "srq"):
        assert is_malformed(with_parameters(blob_url(), **{name: "x"}))


def test_an_encryption_scope_refuses_what_it_would_encrypt() -> None:
    """What is read needs none; what is written would not be encrypted as was signed."""
    for url in (
        blob_url(permission="rwd", encryption_scope="s1"),
        account_url(permission="rwd", encryption_scope="s1"),
    ):
        admit(arriving("GET", url))
        admit(arriving("DELETE", url))
        for comp in ("", "&comp=block", "&comp=blocklist", "&comp=metadata"):
            denied = refusal(arriving("PUT", url + comp))
            assert denied.said is not None
            assert (denied.said.code, denied.said.status) == ("RequestForbiddenByContainerEncryptionPolicy", 403)
        assert refusal(arriving("GET", with_parameters(url, ses="s2"))).code == "signature_mismatch"
        assert refusal(arriving("PUT", with_parameters(url, ses=None))).code == "signature_mismatch"


# A parser

# fmt: off
PARAMETERS = [
    "sig", "sv", "sp", "st", "se", "sr", "si", "sip", "spr", "ss", "srt", "sdd", "ses", "rscc", "snapshot", "versionid",
    "skoid",
]
# fmt: on


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PARAMETERS),
            st.sampled_from(["", "b", "r", "2022-11-02", END, "x", "1", "bs", "d", "A" * 43 + "=", "\n", "https"]),
        ),
        max_size=12,
    )
)
def test_whatever_comes_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs).replace("\n", "%0A")
    inbound = Inbound("GET", f"/{ACCOUNT}/c/b?{query}".encode(), (), now=NOW)
    code = ""
    try:
        claim = claim_of(inbound)
    except Denied as denied:
        code = denied.code
    assert code == "key_malformed" or (len(claim.mac) == 32 and (claim.expires_at is not None or claim.get("si")))
