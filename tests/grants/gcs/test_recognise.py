"""Which requests carry a key of Google's: each of its kinds is found, and nobody else's is taken for one."""

import pytest

from tests.grants.gcs.stranger import ENDPOINT, arriving, posted, refusal, signed, signed_list
from valetstore.config import Config
from valetstore.dialects import schemes_of
from valetstore.errors import Denied
from valetstore.grants.gcs import Gcs
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound

SCHEMES = schemes_of(Config())

FOUND = [
    ("X-Goog-Signature=x", "v4"),
    ("x-goog-signature=x", "v4"),
    ("X-GOOG-ALGORITHM=x", "v4"),
    ("X-%47oog-Credential=", "v4"),
    ("GoogleAccessId=x&Expires=1&Signature=x", "v2"),
    ("googleaccessid=", "v2"),
    ("upload_id=x", "session"),
    ("upload_id", "session"),
]


@pytest.mark.parametrize(("query", "kind"), FOUND)
def test_each_kind_is_found_well_formed_or_not(query: str, kind: str) -> None:
    credential = recognise(arriving("GET", f"{ENDPOINT}/b/k?{query}"), SCHEMES)
    assert (credential.scheme.name, credential.carrier, credential.text) == ("gcs", "query", kind)


@pytest.mark.parametrize(
    ("query", "dialect"),
    [
        ("X-Amz-Signature=x&X-Amz-Algorithm=x", "s3"),
        ("AWSAccessKeyId=x&Expires=1&Signature=x", "s3"),
        ("valet=x", "native"),
    ],
)
def test_the_keys_of_others_are_not_googles(query: str, dialect: str) -> None:
    inbound = arriving("GET", f"{ENDPOINT}/b/k?{query}")
    assert Gcs().recognises(inbound) == []
    assert recognise(inbound, SCHEMES).scheme.name == dialect


@pytest.mark.parametrize("query", ["", "Expires=1&Signature=x", "X-Goog-Meta-A=1", "uploadId=x", "prefix=a"])
def test_what_no_key_has_is_none(query: str) -> None:
    assert Gcs().recognises(arriving("GET", f"{ENDPOINT}/b/k?{query}")) == []


@pytest.mark.parametrize(
    "query",
    [
        "X-Goog-Signature=x&GoogleAccessId=x",
        "X-Goog-Signature=x&X-Amz-Signature=x",
        "GoogleAccessId=x&AWSAccessKeyId=x",
        "GoogleAccessId=x&valet=x",
        "upload_id=x&valet=x",
    ],
)
def test_two_keys_are_ambiguous(query: str) -> None:
    with pytest.raises(Denied) as caught:
        recognise(arriving("GET", f"{ENDPOINT}/b/k?{query}"), SCHEMES)
    assert caught.value.code == "key_ambiguous"


def test_a_form_beside_a_url_is_ambiguous() -> None:
    form = (("x-goog-signature", "x"), ("policy", "x"), ("file", "x"))
    inbound = arriving("POST", f"{ENDPOINT}/photos?X-Goog-Signature=x", form=form)
    with pytest.raises(Denied) as caught:
        recognise(inbound, SCHEMES)
    assert caught.value.code == "key_ambiguous"
    both = (("googleaccessid", "x"), *form)
    assert len(Gcs().recognises(posted({}, form=both))) == 2


# What is asked for

GET, PUT, POST, DELETE = "GET", "PUT", "POST", "DELETE"
ACTIONS = [
    (GET, "/b/k", "", "GetObject"),
    ("HEAD", "/b/k", "", "HeadObject"),
    (PUT, "/b/k", "", "PutObject"),
    (DELETE, "/b/k", "", "DeleteObject"),
    (GET, "/b", "", "ListObjects"),
    (GET, "/b/", "?prefix=a&delimiter=/", "ListObjects"),
    (GET, "/b/k", "?generation=5", "GetObject"),
]


@pytest.mark.parametrize(("method", "path", "query", "action"), ACTIONS)
def test_operations_have_googles_names(method: str, path: str, query: str, action: str) -> None:
    assert Gcs().intent(arriving(method, f"{ENDPOINT}{path}{query}")).action == action


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (GET, "/b/k?acl"),
        (PUT, "/b/k?acl"),
        (GET, "/b?cors"),
        (GET, "/b?versions"),
        (PUT, "/b/k?compose"),
        (POST, "/b/k?uploads"),
        (PUT, "/b/k?uploadId=x&partNumber=1"),
        (GET, "/b/k?tagging"),
        (GET, "/b?iam"),
        (PUT, "/b"),
        (DELETE, "/b"),
        ("HEAD", "/b"),
        (GET, "/"),
    ],
)
def test_what_google_knows_and_nothing_here_does_is_501(method: str, path: str) -> None:
    with pytest.raises(Denied) as caught:
        Gcs().intent(arriving(method, f"{ENDPOINT}{path}"))
    assert (caught.value.code, caught.value.said and caught.value.said.status) == ("not_implemented", 501)


@pytest.mark.parametrize("header", ["x-goog-copy-source", "X-Goog-Encryption-Key", "x-goog-encryption-algorithm"])
def test_a_header_that_makes_another_operation_of_it_is_501(header: str) -> None:
    """Signed or not: a PUT that copies is no upload, and what is to be encrypted is not kept as it is."""
    headers = {header: "/secret/x"}
    for inbound in (
        arriving(PUT, signed(PUT), headers),
        arriving(PUT, signed(PUT, headers=dict(headers)), headers),
        arriving(PUT, signed(PUT, version="v2", headers=dict(headers)), headers),
    ):
        assert refusal(inbound).code == "not_implemented"


@pytest.mark.parametrize("name", ["x-goog-if-generation-match", "X-Goog-Content-Length-Range", "x-goog-copy-source"])
def test_a_condition_in_the_query_would_bind_nobody(name: str) -> None:
    assert refusal(arriving(PUT, signed(PUT, query_parameters={name: "0"}))).code == "parameter_invalid"


def test_a_method_nobody_has_is_405() -> None:
    with pytest.raises(Denied) as caught:
        Gcs().intent(arriving("PATCH", f"{ENDPOINT}/b/k"))
    assert caught.value.code == "method_not_allowed"


def test_a_list_names_its_prefix() -> None:
    intent = Gcs().intent(arriving(GET, signed_list(query_parameters={"prefix": "a/b"})))
    assert (intent.operation, intent.path, intent.key) == ("list", "/photos/a/b", None)
    with pytest.raises(Denied) as caught:
        Gcs().intent(Inbound(GET, b"/photos?prefix=a&prefix=b", (), now=0))
    assert caught.value.code == "parameter_invalid"
