"""What S3's keys leave behind: nothing in the audit and the log that opens anything, no cost that others bear."""

import re
import time
from urllib.parse import quote, urlsplit

import pytest

from tests.edge.s3.conftest import Clients
from tests.edge.s3.signed import presigned
from valetstore.edge.xml import ATTRIBUTES_MAX, TAGS_MAX, parsed
from valetstore.errors import Denied
from valetstore.grants.s3.session import mint


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_key_in_odd_places_reaches_no_file(s3: Clients, version: str) -> None:
    """A URL whose `?` was escaped is in the path as a whole, and opens what it was signed for."""
    gate, client, parent = s3.gate, s3(signature_version=version), s3.credentials()
    token = mint(parent.access_key_id, parent.secret_access_key.encode(), int(time.time()) + 60).session_token
    url = urlsplit(presigned(client, "get_object", "odd"))
    found = re.search(r"(?:^|&)(?:X-Amz-)?Signature=([^&]+)", url.query)
    assert found
    signature = found[1]
    for target, headers in (
        (f"{url.path}%3F{url.query}", {}),
        (f"{url.path}%3f{quote(url.query)}", {}),
        (f"/things/{token}", {}),
        (f"{url.path}?{url.query}", {"User-Agent": f"x {token}"}),
        (f"{url.path}?{url.query}", {"User-Agent": f"x-amz-signature: {signature}"}),
        (url.path, {"Authorization": f"AWS4-HMAC-SHA256 Credential=a, Signature: {signature}"}),
        (url.path, {"Authorization": f"AWS4-HMAC-SHA256 Signature={signature},Signature={signature}"}),
        (url.path, {"Authorization": f"AWS {parent.access_key_id}:{signature}"}),
    ):
        assert gate.ask("GET", target, headers=headers).status < 500
    gate.audit()  # its writer has caught up
    told = (gate.data / "audit.log").read_text() + gate.log
    assert "odd" in told
    for secret in (token, token.split(".")[1], signature, quote(signature)):
        assert secret not in told


def test_a_document_of_too_many_elements_is_not_read() -> None:
    for body in (b"<Delete>" + b"<a/>" * TAGS_MAX + b"</Delete>", b"<a>" * (TAGS_MAX + 1)):
        with pytest.raises(Denied) as caught:
            parsed(body, "Delete")
        assert caught.value.said is not None
        assert caught.value.said.code == "MalformedXML"
        assert caught.value.evidence["reason"] == "it has too many elements"


@pytest.mark.parametrize("between", ["", " \r\n\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_of_too_many_attributes_is_not_read(between: str, encoding: str) -> None:
    """One element of many holds up every thread for seconds: the parser lets no other run meanwhile."""
    many = " ".join(f"a{number}{between}={between}'>'" for number in range(ATTRIBUTES_MAX + 1))
    with pytest.raises(Denied) as caught:
        parsed(f"<Delete {many}/>".encode(encoding), "Delete", 10 * ATTRIBUTES_MAX)
    assert caught.value.said is not None
    assert caught.value.said.code == "MalformedXML"
    assert caught.value.evidence["reason"] == "it has too many attributes"
