"""What a policy of CloudFront's cannot say itself, its signing key's profile does."""

import time
from pathlib import Path
from typing import Any

from tests.edge.cloudfront.conftest import CloudFront, as_header, refused
from tests.edge.doors import make_certificate, toml
from tests.gate import Gate
from tests.grants.cloudfront import stranger
from valetstore.grants.grant import Budget, Profile

ONCE = Profile(single_use=("read",))


def test_a_single_use_is_one_for_all_that_a_policy_opens(cloudfront: CloudFront, gate: Gate) -> None:
    """In a URL and in cookies alike; a HEAD, a refusal and a 304 use nothing."""
    for name in ("a", "b"):
        cloudfront.put(f"/once/{name}", b"x")
    members = cloudfront.members("/once/*", profile=ONCE)
    url = stranger.url_with(gate.base + "/once/a", members)
    assert gate.ask("HEAD", url).status == 200
    assert gate.ask("GET", url.replace("/once/a", "/once/missing")).code == "not_found"
    assert gate.ask("GET", url, headers={"If-None-Match": "*"}).status == 304
    assert gate.ask("GET", url, headers={"Range": "bytes=9-"}).status == 416
    assert gate.ask("GET", url).status == 200
    again = gate.ask("GET", url.replace("/once/a", "/once/b"))
    assert (refused(again), again.code) == ((403, "AccessDenied"), "key_used")
    by_cookies = gate.ask("GET", "/once/b", headers=as_header(stranger.as_cookies(members)))
    assert by_cookies.code == "key_used"
    assert gate.ask("GET", cloudfront.canned("/once/b", profile=ONCE)).status == 200


def test_uses_are_counted(cloudfront: CloudFront, gate: Gate) -> None:
    cloudfront.put("/uses/a", b"x")
    url = cloudfront.canned("/uses/a", profile=Profile(uses=2))
    assert [gate.ask("GET", url).code for _ in range(3)] == [None, None, "key_used"]


def test_networks_prefixes_operations_and_life_narrow(cloudfront: CloudFront, gate: Gate) -> None:
    cloudfront.put("/narrow/a", b"x")
    for profile, code in (
        (Profile(networks=("192.0.2.0/24",)), "source_not_allowed"),
        (Profile(prefixes=("/other/",)), "path_not_allowed"),
        (Profile(operations=("write",)), "operation_not_allowed"),
        (Profile(ttl_seconds_max=60), "ttl_too_long"),
        (Profile(https=True), "https_required"),
    ):
        answer = gate.ask("GET", cloudfront.canned("/narrow/a", profile=profile))
        assert (refused(answer), answer.code) == ((403, "AccessDenied"), code)
    for profile in (
        Profile(networks=("127.0.0.0/8",)),
        Profile(prefixes=("/narrow/",)),
        Profile(ttl_seconds_max=300),
        # Of uploads, and so of nothing that these keys do.
        Profile(create_only=True, types=("image/*",), length_bytes_min=5, length_bytes_max=9),
    ):
        assert gate.ask("GET", cloudfront.canned("/narrow/a", profile=profile)).status == 200


def test_a_policys_own_times_and_network_hold(cloudfront: CloudFront, gate: Gate) -> None:
    cloudfront.put("/own/a", b"x")
    now = int(time.time())
    for conditions, code in (
        (stranger.after(now + 60), "key_not_yet_valid"),
        (stranger.source("192.0.2.0/24"), "source_not_allowed"),
        ({**stranger.after(now - 60), **stranger.source("127.0.0.1")}, None),
    ):
        assert gate.ask("GET", cloudfront.custom("/own/a", "/own/*", **conditions)).code == code
    assert gate.ask("GET", cloudfront.custom("/own/a", seconds=-1)).code == "key_expired"


def test_a_budget_holds(cloudfront: CloudFront, gate: Gate) -> None:
    cloudfront.put("/budget/a", b"x")
    url = cloudfront.canned("/budget/a", profile=Profile(budget=Budget(rate=0.01, burst=2)))
    answers = [gate.ask("GET", url) for _ in range(3)]
    assert [answer.code for answer in answers] == [None, None, "rate_limited"]
    assert refused(answers[2]) == (503, "SlowDown")
    assert int(answers[2].headers["retry-after"]) > 0


def test_a_key_is_revoked_by_its_url_or_its_cookies(cloudfront: CloudFront, gate: Gate) -> None:
    """All that its policy opens, in whatever carrier; another key of the same signing key stays."""
    cloudfront.put("/revoked/a", b"x")
    cloudfront.put("/revoked/b", b"x")
    url = cloudfront.canned("/revoked/a")
    gate.cli("revoke", url)
    assert gate.ask("GET", url).code == "key_revoked"
    assert gate.ask("GET", cloudfront.canned("/revoked/b")).status == 200
    members = cloudfront.members("/revoked/*")
    cookies = as_header(stranger.as_cookies(members))
    assert gate.ask("GET", "/revoked/b", headers=cookies).status == 200
    gate.cli("revoke", f"Cookie: {cookies['Cookie']}")
    assert gate.ask("GET", "/revoked/b", headers=cookies).code == "key_revoked"
    assert gate.ask("GET", stranger.url_with("/revoked/a", members)).code == "key_revoked"


def test_a_key_is_given_back_by_its_holder(cloudfront: CloudFront, gate: Gate) -> None:
    cloudfront.put("/released/a", b"x")
    url = cloudfront.canned("/released/a")
    assert gate.ask("POST", "/_valet/release", f'{{"key": "{url}"}}').status == 204
    assert gate.ask("GET", url).code == "key_revoked"


def test_a_retired_signing_key_opens_nothing(cloudfront: CloudFront, gate: Gate) -> None:
    cloudfront.put("/retired/a", b"x")
    profile = Profile(prefixes=("/retired/",))
    url = cloudfront.canned("/retired/a", profile=profile)
    assert gate.ask("GET", url).status == 200
    gate.cli("keys", "retire", f"cf-{cloudfront.key_pair(profile)}")
    assert gate.ask("GET", url).code == "key_revoked"


def test_over_tls_the_url_is_https(tmp_path: Path) -> None:
    """Its scheme is signed: what was signed for http opens nothing over TLS, nor the other way round."""
    cafile, key = make_certificate(tmp_path)
    config = toml({"listen": {"tls-cert": str(cafile), "tls-key": str(key)}})
    with Gate(tmp_path, config, cafile=cafile) as gate:
        cloudfront = CloudFront(gate)
        cloudfront.put("/tls/a", b"x")
        profile = Profile(https=True)
        assert gate.base.startswith("https://")
        assert gate.ask("GET", cloudfront.canned("/tls/a", profile=profile)).status == 200
        assert gate.ask("GET", cloudfront.custom("/tls/a", "http*://*/tls/*", profile=profile)).status == 200
        plain = gate.base.replace("https://", "http://")
        assert gate.ask("GET", cloudfront.canned("/tls/a", base=plain)).code == "signature_mismatch"


def test_settings_refuse_sha1_and_name_the_public_url(tmp_path: Path) -> None:
    public = "https://cdn.example.com"
    tables: dict[str, dict[str, Any]] = {"cloudfront": {"cloudfront-sha1": False}, "listen": {"public-url": public}}
    with Gate(tmp_path, toml(tables)) as gate:
        cloudfront = CloudFront(gate)
        cloudfront.put("/sha/a", b"x")
        kid, ends = cloudfront.key_pair(), int(time.time()) + 60
        for hashed, code in ((None, "key_malformed"), ("SHA1", "key_malformed"), ("SHA256", None)):
            members = stranger.canned(f"{public}/sha/a", ends, hashed=hashed) | {"Key-Pair-Id": kid}
            assert gate.ask("GET", stranger.url_with("/sha/a", members)).code == code
