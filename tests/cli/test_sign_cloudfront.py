"""`valetstore sign --scheme cloudfront`: what it prints opens a real gateway; what CloudFront cannot say is refused."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.s3 import Line
from tests.gate import Answer, Gate, run_cli
from valetstore.keys.material import public_pem
from valetstore.keys.pairs import new_pair

CANNED = ["Expires", "Key-Pair-Id", "Signature"]
CUSTOM = ["Key-Pair-Id", "Policy", "Signature"]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with two signing keys for CloudFront, and an object."""
    folder = tmp_path_factory.mktemp("gate")
    for name, *options in (
        ("default",),
        ("rsa", "--scheme", "cloudfront"),
        ("ec", "--scheme", "cloudfront", "--ec"),
        ("brief", "--scheme", "cloudfront", "--ttl-max", "60s", "--prefix", "/photos/"),
    ):
        done = run_cli("keys", "create", name, *options, "--data", str(folder / "data"), cwd=folder)
        assert done.returncode == 0, done.stderr
    with Gate(folder) as running:
        for path in ("/photos/50% *?#ü.jpg", "/photos/a/b.jpg"):
            assert running.ask("PUT", running.sign("PUT", path), b"x").status == 201
        yield running


@pytest.fixture
def line(gate: Gate, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on that gateway's data."""
    return Line(gate.data, capsys)


def signed(line: Line, path: str, *options: str, key: str = "rsa") -> str:
    """The URL that is printed."""
    return line("sign", "GET", path, "--scheme", "cloudfront", "--key", key, *options).strip()


def names(url: str) -> list[str]:
    """The parameters of a URL."""
    return sorted(parse_qs(urlsplit(url).query))


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_an_end_alone_is_a_canned_policy_and_more_a_custom_one(gate: Gate, line: Line, key: str) -> None:
    path = "/photos/50% *?#ü.jpg"
    for options, expected, status in (
        ((), CANNED, 200),
        (("--hash", "sha256"), ["Expires", "Hash-Algorithm", "Key-Pair-Id", "Signature"], 200),
        (("--ip", "127.0.0.0/8"), CUSTOM, 200),
        (("--ip", "192.0.2.7"), CUSTOM, 403),
        (("--start", "10m"), CUSTOM, 403),
    ):
        url = signed(line, path, *options, key=key)
        assert url.startswith(f"{gate.base}/photos/50%25%20%2A%3F%23%C3%BC.jpg?")
        assert names(url) == expected
        assert gate.ask("GET", url).status == status


def test_a_prefix_opens_what_is_below(gate: Gate, line: Line) -> None:
    url = signed(line, "/photos/a/", "--prefix")
    assert names(url) == CUSTOM
    assert "Put an object's name between" in line.errors
    assert gate.ask("GET", url.replace("/a/?", "/a/b.jpg?")).status == 200
    assert gate.ask("GET", url.replace("/a/?", "/50%25%20%2A%3F%23%C3%BC.jpg?")).code == "path_not_allowed"


def with_cookies(gate: Gate, path: str, cookies: dict[str, str]) -> Answer:
    """A GET that brings them."""
    return gate.ask("GET", path, headers={"Cookie": "; ".join(f"{name}={text}" for name, text in cookies.items())})


def test_cookies_are_printed_as_pairs_or_as_json(gate: Gate, line: Line) -> None:
    printed = signed(line, "/photos/a/", "--prefix", "--cookie").splitlines()
    cookies = dict(pair.split("=", 1) for pair in printed)
    assert sorted(cookies) == [f"CloudFront-{name}" for name in CUSTOM]
    assert with_cookies(gate, "/photos/a/b.jpg", cookies).status == 200
    made = line.json("sign", "GET", "/photos/a/b.jpg", "--scheme", "cloudfront", "--key", "ec", "--cookie")
    assert sorted(made) == ["cookies", "expires_at", "url"]
    assert sorted(made["cookies"]) == [f"CloudFront-{name}" for name in CANNED]
    assert with_cookies(gate, made["url"], made["cookies"]).status == 200


def test_as_json_it_says_who_signed_and_until_when(gate: Gate, line: Line) -> None:
    made = line.json("sign", "GET", "/photos/a/b.jpg", "--scheme", "cloudfront", "--key", "rsa", "--expires", "1h")
    assert sorted(made) == ["expires_at", "headers", "key_pair_id", "method", "url"]
    assert (made["method"], made["headers"]) == ("GET", {})
    assert parse_qs(urlsplit(made["url"]).query)["Expires"] == [str(made["expires_at"])]
    assert gate.ask("GET", made["url"]).status == 200


def test_what_a_policy_cannot_say_is_refused_with_the_reason(line: Line) -> None:
    def refused(*options: str, method: str = "GET", path: str = "/photos/x") -> str:
        return line.refused("sign", method, path, "--scheme", "cloudfront", "--key", "rsa", *options)

    assert "keys of CloudFront read" in refused(method="PUT")
    assert "keys of CloudFront read" in refused(method="LIST", path="/photos/")
    for options in (
        ("--once",),
        ("--budget", "rate=1"),
        ("--length", "1-5"),
        ("--type", "image/*"),
        ("--create-only",),
        ("--sha256", "ab" * 32),
        ("--filename", "x"),
        ("--inline",),
        ("--sub", "me"),
        ("--aud", "me"),
        ("--https",),
        ("--https", "--base-url", "https://cdn.example.com"),
    ):
        assert options[0] in refused(*options)
    assert "one network" in refused("--ip", "10.0.0.0/8,192.0.2.0/24")
    assert "CloudFront has sha1 and sha256" in refused("--hash", "sha512")
    assert "--sigv2" in refused("--sigv2")
    assert "/photos/" in refused("--prefix")


def test_https_is_for_the_profile_and_the_url_is_the_base_urls(line: Line) -> None:
    said = line.refused("sign", "GET", "/photos/x", "--scheme", "cloudfront", "--key", "rsa", "--https")
    assert "no key of CloudFront's says so; its signing key's profile can (`keys create --https`)" in said
    assert signed(line, "/photos/x", "--base-url", "https://cdn.example.com").startswith("https://cdn.")


def test_what_the_profile_forbids_is_refused(line: Line) -> None:
    def refused(path: str, *options: str) -> str:
        return line.refused("sign", "GET", path, "--scheme", "cloudfront", "--key", "brief", *options)

    assert "/photos/" in refused("/other/x", "--expires", "1m")
    assert "at most" in refused("/photos/x", "--expires", "1h")


def test_a_gateway_that_refuses_sha1_signs_sha256(gate: Gate, line: Line) -> None:
    settings = gate.folder / "strict.toml"
    settings.write_text("[cloudfront]\ncloudfront-sha1 = false\n")
    assert "Hash-Algorithm" in names(signed(line, "/photos/x", "--config", str(settings)))
    arguments = ("sign", "GET", "/photos/x", "--scheme", "cloudfront", "--key", "rsa", "--config", str(settings))
    assert "cloudfront-sha1" in line.refused(*arguments, "--hash", "sha1")


def test_a_private_half_that_is_elsewhere_signs_there(gate: Gate, line: Line) -> None:
    public = gate.folder / "public.pem"
    public.write_text(public_pem(new_pair("RSA")))
    line("keys", "import", "theirs", "--scheme", "cloudfront", "--public-key", str(public), "--key-pair-id", "KTHEIRS")
    arguments = ("sign", "GET", "/photos/x", "--scheme", "cloudfront", "--key", "theirs")
    assert "private half is not kept here" in line.refused(*arguments)
