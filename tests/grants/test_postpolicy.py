"""POST policies: what they say, what they refuse, and in which words."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.errors import Denied
from valetstore.grants.postpolicy import Policy, read_policy, with_filename

END = "2026-11-22T16:23:18Z"
END_SECONDS = 1_795_364_598
EXEMPT = frozenset({"policy", "x-amz-signature"})
FIELDS = {"key": "user/a.png", "acl": "private", "content-type": "image/png", "policy": "p"}
CONDITIONS: list[object] = [
    {"bucket": "photos"},
    ["starts-with", "$key", "user/"],
    {"acl": "private"},
    ["starts-with", "$Content-Type", "image/"],
]


def encoded(document: object) -> str:
    """A document as a form carries it."""
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.b64encode(text.encode()).decode()


def policy(*conditions: object, expiration: object = END) -> Policy:
    """A policy of these conditions."""
    return read_policy(encoded({"expiration": expiration, "conditions": conditions}))


def said(denied: pytest.ExceptionInfo[Denied]) -> tuple[str, str, int]:
    """The refusal in the vendor's words."""
    saying = denied.value.said
    assert saying
    return saying.code, saying.message, saying.status


def test_a_form_that_fits_every_condition_is_let_in() -> None:
    """The usual policy: bucket, beginning of the key, ACL, kind of content."""
    policy(*CONDITIONS).check(FIELDS, "photos", EXEMPT)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (END, END_SECONDS),
        ("2026-11-22T16:23:18.124018Z", END_SECONDS + 0.124018),
        ("2026-11-22T16:23:18.5Z", END_SECONDS + 0.5),
        ("2026-11-22T16:23:18.000000000Z", END_SECONDS),
    ],
)
def test_an_expiration_may_have_a_fraction(text: str, seconds: float) -> None:
    """Python's and JavaScript's ways to write a time."""
    assert policy(expiration=text).expires_at == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22 16:23:18Z",
        "2026-11-22T16:23:18",
        "2026-11-22T16:23:18+00:00",
        "2026-02-30T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T16:23:60Z",
        " 2026-11-22T16:23:18Z",
        "2026-11-22T16:23:18Z\n",
        "2026-11-22T16:23:18.Z",
        "tomorrow",
        "",
        1_795_364_598,
        None,
        True,
        ["2026-11-22T16:23:18Z"],
    ],
)
def test_an_expiration_of_another_shape_is_refused(text: object) -> None:
    """None of them may come to mean a policy without an end."""
    with pytest.raises(Denied) as denied:
        policy(expiration=text)
    assert said(denied) == ("InvalidPolicyDocument", f"Invalid Policy: Invalid 'expiration' value: '{text}'", 400)


ONE_PROPERTY = "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."


@pytest.mark.parametrize(
    ("submitted", "reason"),
    [
        ("", "Expecting '{' but found End-of-Input"),
        ("{}", "invalid Base64 encoding."),
        ("e30", "invalid Base64 encoding."),
        ("e30=\n", "invalid Base64 encoding."),
        ("é", "invalid Base64 encoding."),
        (encoded("expiration"), "Invalid JSON."),
        (encoded("[]"), "Invalid JSON."),
        (encoded('"x"'), "Invalid JSON."),
        (encoded(f'{{"expiration": "{END}", "conditions": [{{"acl": NaN}}]}}'), "Invalid JSON."),
        (encoded(f'{{"expiration": "{END}", "expiration": "{END}", "conditions": []}}'), "Invalid JSON."),
        (encoded(f'{{"expiration": "{END}", "conditions": [{{"acl": "a", "acl": "b"}}]}}'), "Invalid JSON."),
        (encoded("[" * 5000 + "]" * 5000), "Invalid JSON."),
        (encoded({}), "Policy missing expiration."),
        (encoded({"conditions": []}), "Policy missing expiration."),
        (encoded({"EXPIRATION": END, "conditions": []}), 'Unexpected: "EXPIRATION"'),
        (encoded({"expiration": END, "CONDITIONS": []}), 'Unexpected: "CONDITIONS"'),
        (encoded({"expiration": END, "conditions": [], "x": 1}), 'Unexpected: "x"'),
        (encoded({"expiration": END}), "Policy missing conditions."),
        (encoded({"expiration": END, "conditions": {}}), "Invalid 'conditions' value: must be a List."),
        (encoded({"expiration": END, "conditions": None}), "Invalid 'conditions' value: must be a List."),
    ],
)
def test_a_document_that_is_no_policy_is_refused(submitted: str, reason: str) -> None:
    """In the words that S3 has for it."""
    with pytest.raises(Denied) as denied:
        read_policy(submitted)
    assert said(denied) == ("InvalidPolicyDocument", f"Invalid Policy: {reason}", 400)


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({}, ONE_PROPERTY),
        ({"acl": "private", "key": "x"}, ONE_PROPERTY),
        ({"acl": 1}, "Invalid Simple-Condition: value must be a string."),
        ({"acl": None}, "Invalid Simple-Condition: value must be a string."),
        ("acl", "Invalid condition test: must be a List or Object."),
        (7, "Invalid condition test: must be a List or Object."),
        ([], "Invalid Condition: missing operation identifier."),
        (["like", "$key", "x"], "Invalid Condition: unknown operation 'like'."),
        ([1, "$key", "x"], "Invalid Condition: unknown operation '1'."),
        (["eq", "$key"], "Invalid eq: wrong number of arguments."),
        (["starts-with", "$key", "a", "b"], "Invalid starts-with: wrong number of arguments."),
        (["eq", "key", "a"], "Invalid eq: the field must be a string that begins with '$'."),
        (["eq", "$key", 5], "Invalid eq: value must be a string."),
        (["eq", "$key", ["a"]], "Invalid eq: value must be a string."),
        (["in", "$key", "a"], "Invalid in: value must be a List of strings."),
        (["not-in", "$key", ["a", 5]], "Invalid not-in: value must be a List of strings."),
        (["content-length-range", 0], "Invalid content-length-range: wrong number of arguments."),
        (["content-length-range", -1, 0], "Invalid content-length-range: arguments must be whole numbers."),
        (["content-length-range", 0, 1.5], "Invalid content-length-range: arguments must be whole numbers."),
        (["content-length-range", True, 5], "Invalid content-length-range: arguments must be whole numbers."),
        (["content-length-range", "0x1", 5], "Invalid content-length-range: arguments must be whole numbers."),
        (["content-length-range", None, 5], "Invalid content-length-range: arguments must be whole numbers."),
        (["content-length-range", 5, 1], "Invalid content-length-range: the minimum is larger than the maximum."),
    ],
)
def test_a_condition_of_another_shape_is_refused(condition: object, reason: str) -> None:
    """A condition that nobody can read must not be one that everybody meets."""
    with pytest.raises(Denied) as denied:
        policy(condition)
    assert said(denied) == ("InvalidPolicyDocument", f"Invalid Policy: {reason}", 400)


@pytest.mark.parametrize(
    ("condition", "fields", "written"),
    [
        ({"acl": "public-read"}, {}, '["eq", "$acl", "public-read"]'),
        (["eq", "$acl", "Private"], {}, '["eq", "$acl", "Private"]'),
        (["starts-with", "$key", "users/"], {}, '["starts-with", "$key", "users/"]'),
        (["starts-with", "$x-amz-meta-a", ""], {}, '["starts-with", "$x-amz-meta-a", ""]'),
        (["eq", "$x-amz-meta-a", ""], {}, '["eq", "$x-amz-meta-a", ""]'),
        (["not-in", "$x-amz-meta-a", ["b"]], {}, '["not-in", "$x-amz-meta-a", ["b"]]'),
        (["not-in", "$acl", ["private"]], {}, '["not-in", "$acl", ["private"]]'),
        (["in", "$Content-Type", ["image/gif"]], {}, '["in", "$Content-Type", ["image/gif"]]'),
        (["eq", "$key", "grüße"], {}, '["eq", "$key", "grüße"]'),
        (
            ["starts-with", "$Content-Type", "image/"],
            {"content-type": "image/png, text/html"},
            '["starts-with", "$Content-Type", "image/"]',
        ),
    ],
)
def test_a_condition_that_fails_is_quoted(condition: object, fields: dict[str, str], written: str) -> None:
    """As it was written; a simple one as the `eq` that it means."""
    with pytest.raises(Denied) as denied:
        policy(*CONDITIONS, condition).check(FIELDS | fields, "photos", EXEMPT)
    text = f"Invalid according to Policy: Policy Condition failed: {written}"
    assert said(denied) == ("AccessDenied", text, 403)


@pytest.mark.parametrize("operator", ["StArTs-WiTh", "starts-with"])
def test_names_and_operators_have_no_case_and_values_do(operator: str) -> None:
    """`$KeY` is the field `key`; `User/` is not the beginning of `user/`."""
    policy({"bUcKeT": "photos"}, [operator, "$KeY", "user/"]).check({"key": "user/a"}, "photos", EXEMPT)
    with pytest.raises(Denied):
        policy({"bucket": "photos"}, [operator, "$key", "User/"]).check({"key": "user/a"}, "photos", EXEMPT)


def test_the_bucket_must_be_named_and_is_that_of_the_request() -> None:
    """A policy without a bucket would open all of them."""
    for_key: list[object] = ["starts-with", "$key", ""]
    with pytest.raises(Denied) as denied:
        policy(for_key).check({"key": "a"}, "photos", EXEMPT)
    assert said(denied) == ("AccessDenied", "Invalid according to Policy: Extra input fields: bucket", 403)
    with pytest.raises(Denied):
        policy({"bucket": "other"}, for_key).check({"key": "a"}, "photos", EXEMPT)
    with pytest.raises(Denied):
        policy({"bucket": "other"}, for_key).check({"key": "a", "bucket": "other"}, "photos", EXEMPT)
    photos = policy({"bucket": "photos"}, for_key)
    photos.check({"key": "a", "bucket": "photos"}, "photos", EXEMPT)
    with pytest.raises(Denied):
        photos.check({"key": "a", "bucket": "other"}, "photos", EXEMPT)


def test_every_field_is_named_by_a_condition() -> None:
    """But for those that carry the policy, and those that say they are to be ignored."""
    with pytest.raises(Denied) as denied:
        policy(*CONDITIONS).check(FIELDS | {"x-amz-meta-note": "n", "x-ignore-me": "y"}, "photos", EXEMPT)
    assert said(denied) == ("AccessDenied", "Invalid according to Policy: Extra input fields: x-amz-meta-note", 403)


def test_in_and_not_in_choose_from_lists() -> None:
    """Alibaba's operators."""
    listed = policy({"bucket": "photos"}, ["in", "$acl", ["private", "x"]], ["not-in", "$key", ["b", "c"]])
    listed.check({"acl": "x", "key": "a"}, "photos", ())
    for wrong in ({"acl": "y", "key": "a"}, {"acl": "x", "key": "c"}):
        with pytest.raises(Denied):
            listed.check(wrong, "photos", ())


@pytest.mark.parametrize(
    ("conditions", "length"),
    [
        ([], None),
        ([["content-length-range", 0, 0]], (0, 0)),
        ([["content-length-range", "1", "1024"]], (1, 1024)),
        ([["Content-Length-Range", 1, 10], ["content-length-range", 5, 20]], (5, 10)),
    ],
)
def test_lengths_are_numbers_or_quoted_numbers(conditions: list[object], length: tuple[int, int] | None) -> None:
    """Several ranges must all hold."""
    assert policy(*conditions).length == length


@pytest.mark.parametrize(
    ("raw", "value"),
    [(r"\$foo", "$foo"), (r"\\$foo", "\\$foo"), (r"a\vb", "a\vb"), (r"\\v", "\\v"), (r"\"\\\$", '"\\$')],
)
def test_the_escapes_of_s3s_documentation_are_read(raw: str, value: str) -> None:
    """`\\$` and `\\v` are no JSON, and S3 says that policies may have them."""
    text = f'{{"expiration": "{END}", "conditions": [{{"bucket": "b"}}, ["eq", "$key", "{raw}"]]}}'
    read_policy(encoded(text)).check({"key": value}, "b", ())


@pytest.mark.parametrize(
    ("filename", "key"),
    [
        ("a.png", "u/a.png"),
        ("C:\\pictures\\a.png", "u/a.png"),
        ("/home/erin/a.png", "u/a.png"),
        ("../../etc/passwd", "u/passwd"),
        ("..\\..\\x", "u/x"),
        ("${filename}", "u/${filename}"),
        ("", "u/"),
        ("a\x00b", "u/a\x00b"),
    ],
)
def test_a_file_name_is_its_last_segment(filename: str, key: str) -> None:
    """Some browsers send whole paths. What is left is a name like any other, for `ObjectKey` to judge."""
    assert with_filename("u/${filename}", filename) == key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(JSON | st.builds(lambda rows: {"expiration": END, "conditions": rows}, st.lists(JSON, max_size=5)))
def test_any_document_is_a_policy_or_refused(document: Any) -> None:
    """Nothing else comes out of what a stranger sends."""
    found = policy_or_code(encoded(document))
    if isinstance(found, Policy):
        with pytest.raises(Denied):
            found.check({"key": "k"}, "a-bucket-nobody-names", ())
    else:
        assert found == "InvalidPolicyDocument"


def policy_or_code(submitted: str) -> Policy | str:
    """A policy, or S3's code for the refusal."""
    try:
        return read_policy(submitted)
    except Denied as denied:
        return denied.said.code if denied.said else denied.code


@given(st.text(max_size=60))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    """The same, before it is JSON."""
    for submitted in (text, encoded(text.encode("utf-8", "replace").decode())):
        with pytest.raises(Denied):
            read_policy(submitted)
