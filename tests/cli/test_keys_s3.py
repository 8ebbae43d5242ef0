"""`valetstore keys --scheme s3` and `keys session`: what AWS's tools are given to sign with."""

import configparser
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.cli.s3 import Line
from tests.edge.s3.conftest import Clients, Credentials
from tests.gate import Gate, run_cli
from valetstore.keys.ringfile import RingFile


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on an empty data directory."""
    return Line(tmp_path / "data", capsys)


def profile_in(text: str) -> configparser.SectionProxy:
    """The one profile in what was printed, as AWS's tools read it."""
    parser = configparser.RawConfigParser()
    parser.read_file(io.StringIO(text))
    (name,) = parser.sections()
    return parser[name]


def test_a_new_key_is_printed_as_a_profile_to_paste(line: Line) -> None:
    profile = profile_in(line("keys", "create", "web", "--scheme", "s3"))
    assert profile.name == "web"
    assert profile["aws_access_key_id"].startswith("VK")
    assert len(profile["aws_secret_access_key"]) == 40
    assert profile["region"] == "us-east-1"
    assert "endpoint_url" not in profile
    assert "listen.public-url is not set" in line.errors


def test_as_json_it_has_what_a_program_needs(line: Line) -> None:
    made = line.json("keys", "create", "web", "--scheme", "s3", "--prefix", "/photos/", "--ops", "read")
    assert list(made) == [
        "name", "scheme", "access_key_id", "secret_access_key", "region", "endpoint_url", "profile",
    ]  # fmt: skip
    assert (made["name"], made["scheme"], made["region"], made["endpoint_url"]) == ("web", "s3", "us-east-1", None)
    assert made["profile"] == {"operations": ["read"], "prefixes": ["/photos/"]}
    key = RingFile(line.data).load().find("s3", made["access_key_id"])
    assert key is not None
    assert key.material == made["secret_access_key"].encode()


def test_region_and_endpoint_are_the_gateways(tmp_path: Path, line: Line) -> None:
    config = tmp_path / "valetstore.toml"
    config.write_text('[listen]\npublic-url = "https://files.example.org"\n[s3]\nregion = "eu-west-1"\n')
    made = line.json("keys", "create", "web", "--scheme", "s3", "--config", str(config))
    assert (made["region"], made["endpoint_url"]) == ("eu-west-1", "https://files.example.org")
    config.write_text('[s3]\nregion = ""\n')
    made = line.json("keys", "create", "any", "--scheme", "s3", "--config", str(config))
    assert (made["region"], made["endpoint_url"]) == ("us-east-1", None)


@pytest.mark.parametrize("command", ["create", "import"])
def test_a_key_that_exists_elsewhere_is_taken_as_it_is(command: str, tmp_path: Path, line: Line) -> None:
    secret = "wJalr+UtnFEMI/K7MDENG"
    (tmp_path / "secret").write_text(secret + "\n")
    given = ("--access-key-id", "AKIA.test-1", "--secret-file", str(tmp_path / "secret"))
    made = line.json("keys", command, "old", "--scheme", "s3", *given)
    assert (made["access_key_id"], made["secret_access_key"]) == ("AKIA.test-1", secret)


def test_the_secret_may_come_from_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "valetstore", "keys", "create", "old", "--scheme", "s3", "--secret-file", "-",
         "--json", "--data", str(tmp_path / "data")],
        input="sixteen-characters-and-more\n", capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["secret_access_key"] == "sixteen-characters-and-more"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "web", "--scheme", "s3", "--alg", "HS256"], "--alg: is for JWTs, not for S3"),
        (["create", "web", "--scheme", "s3", "--private-out", "x.pem"], "--private-out: is for JWTs, not for S3"),
        (["create", "web", "--access-key-id", "AKIA"], "--access-key-id: needs --scheme s3"),
        (["create", "web", "--secret-file", "x"], "--secret-file: needs --scheme s3"),
        (["create", "web", "--scheme", "s3", "--access-key-id", "a/b"], "--access-key-id: access key id 'a/b'"),
        (["create", "web", "--scheme", "s3", "--secret-file", "/dev/null"], "/dev/null: the secret access key has 0"),
        (["create", "web", "--scheme", "s3", "--secret-file", "missing"], "--secret-file missing: cannot be read"),
        (["create", "_web", "--scheme", "s3"], "names that begin with `_` are the gateway's own"),
        (["import", "web", "--scheme", "s3"], "needs --access-key-id and --secret-file"),
        (["import", "web", "--scheme", "s3", "--jwks", "x"], "--jwks: is for JWTs, not for S3"),
        (["import", "web", "--scheme", "s3", "--kid", "x"], "--kid: is for JWTs, not for S3"),
        (["import", "web", "--access-key-id", "x"], "--access-key-id: needs --scheme s3"),
        (["session", "web"], "there is none of that name; `valetstore keys create NAME --scheme s3`"),
        (["session", "_valet"], "names that begin with `_` are the gateway's own"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(arguments: list[str], said: str, line: Line) -> None:
    assert said in line.refused("keys", *arguments)
    assert not (line.data / "keys/ring.json").exists()


def test_an_access_key_id_is_given_once(line: Line) -> None:
    line("keys", "create", "one", "--scheme", "s3", "--access-key-id", "AKIA1")
    assert "is used twice" in line.refused("keys", "create", "two", "--scheme", "s3", "--access-key-id", "AKIA1")


def test_lists_show_the_scheme_and_the_access_key_id_and_no_secret(line: Line) -> None:
    made = line.json("keys", "create", "web", "--scheme", "s3")
    line("keys", "create", "app")
    heads, web, app = line("keys", "list").splitlines()
    assert heads.split() == ["NAME", "SCHEME", "KID", "ALG", "STATE", "ALLOWS"]
    assert web.split()[:5] == ["web", "s3", made["access_key_id"], "HMAC", "active"]
    assert app.split()[:5] == ["app", "native", "app", "HS256", "active"]
    shown = line.json("keys", "show", "web")
    assert (shown["scheme"], shown["access_key_id"]) == ("s3", made["access_key_id"])
    for arguments in (("list",), ("list", "--json"), ("show", "web"), ("show", "web", "--json")):
        assert made["secret_access_key"] not in line("keys", *arguments)
    assert line.json("keys", "show", "web", "--secret")["secret_access_key"] == made["secret_access_key"]
    assert f"secret access key: {made['secret_access_key']}" in line("keys", "show", "web", "--secret")


# Temporary credentials.


def test_a_session_is_printed_as_a_profile_as_json_and_for_credential_process(line: Line) -> None:
    line("keys", "create", "web", "--scheme", "s3")
    profile = profile_in(line("keys", "session", "web"))
    assert profile.name == "web-session"
    assert profile["aws_access_key_id"].startswith("VT")
    assert profile["aws_session_token"].startswith("valet1.")
    made = line.json("keys", "session", "web", "--expires", "2h")
    assert set(made) == {
        "access_key_id", "secret_access_key", "session_token", "expiration", "region", "endpoint_url",
    }  # fmt: skip
    assert abs(datetime.fromisoformat(made["expiration"]).timestamp() - time.time() - 7200) < 60
    process = json.loads(line("keys", "session", "web", "--credential-process"))
    assert list(process) == ["Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"]
    assert process["Version"] == 1
    assert "give one of them" in line.refused("keys", "session", "web", "--credential-process", "--json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ops", "read,write"], "write: the signing key allows read"),
        (["--prefix", "/b/"], "/b/: the signing key allows everything below /a/"),
        (["--prefix", "/a/", "--prefix", "/"], "/: the signing key allows everything below /a/"),
        (["--expires", "2h"], "expires: the signing key allows at most 1h"),
        (["--ops", "fly"], "--ops 'fly': must be some of delete, list, read, write"),
        (["--ops", "admin"], "--ops 'admin': must be some of"),
        (["--prefix", "a"], "--prefix 'a': must start and end with a slash"),
    ],
)
def test_a_session_is_never_wider_than_its_signing_key(arguments: list[str], said: str, line: Line) -> None:
    line("keys", "create", "web", "--scheme", "s3", "--prefix", "/a/", "--ops", "read", "--ttl-max", "1h")
    assert said in line.refused("keys", "session", "web", *arguments)


def test_only_a_key_for_s3_that_is_in_force_makes_sessions(line: Line) -> None:
    line("keys", "create", "app")
    assert "'app': is for --scheme native" in line.refused("keys", "session", "app")
    line("keys", "create", "web", "--scheme", "s3")
    line("keys", "retire", "web")
    assert "'web': is retired" in line.refused("keys", "session", "web")


# Before a real gateway.


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """One whose signing keys were made before it was started."""
    folder = tmp_path_factory.mktemp("gate")
    run_cli("keys", "create", "web", "--scheme", "s3", "--data", str(folder / "data"), cwd=folder)
    with Gate(folder) as running:
        yield running


def test_boto3_works_with_the_pasted_profile_as_it_is(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key and session, from the files that a user has; the endpoint is the running gateway's."""
    session = gate.cli("keys", "session", "web", "--prefix", "/photos/in/")
    text = f"{session}\n[lasting]\n" + "\n".join(_lasting(gate))
    (tmp_path / "credentials").write_text(text)
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "credentials"))
    lasting = boto3.Session(profile_name="lasting").client("s3")
    assert lasting.meta.endpoint_url == gate.base
    lasting.put_object(Bucket="photos", Key="in/a", Body=b"bytes")
    lasting.put_object(Bucket="photos", Key="b", Body=b"bytes")
    temporary = boto3.Session(profile_name="web-session").client("s3")
    assert temporary.meta.endpoint_url == gate.base
    assert temporary.get_object(Bucket="photos", Key="in/a")["Body"].read() == b"bytes"
    with pytest.raises(ClientError, match="AccessDenied"):
        temporary.get_object(Bucket="photos", Key="b")


def _lasting(gate: Gate) -> list[str]:
    shown = json.loads(gate.cli("keys", "show", "web", "--secret", "--json"))
    return [
        f"aws_access_key_id = {shown['access_key_id']}",
        f"aws_secret_access_key = {shown['secret_access_key']}",
        f"endpoint_url = {gate.base}",
        "region = us-east-1",
    ]


def test_a_retired_key_ends_its_sessions(gate: Gate) -> None:
    made = json.loads(gate.cli("keys", "create", "short", "--scheme", "s3", "--json"))
    session = json.loads(gate.cli("keys", "session", "short", "--json"))
    clients = [
        boto3.client(
            "s3",
            endpoint_url=gate.base,
            region_name="us-east-1",
            aws_access_key_id=one["access_key_id"],
            aws_secret_access_key=one["secret_access_key"],
            aws_session_token=one.get("session_token"),
        )
        for one in (made, session)
    ]
    time.sleep(1)
    for client in clients:
        client.put_object(Bucket="photos", Key="x", Body=b"x")
    gate.cli("keys", "retire", "short")
    time.sleep(1)
    for client in clients:
        with pytest.raises(ClientError):
            client.get_object(Bucket="photos", Key="x")


def test_administration_is_nothing_of_s3s(line: Line) -> None:
    """Rather than a key that opens nothing."""
    said = line.refused("keys", "create", "boss", "--scheme", "s3", "--ops", "read,admin")
    assert "--ops 'admin': nothing of S3 is administration" in said


def test_a_key_that_was_made_opens_at_once_in_every_worker(start: Callable[..., Gate]) -> None:
    """Whoever has been given it need not wait: the command returns when the gateway that runs goes by it."""
    gate = start("", "--workers", "2")
    for number in range(4):
        made = json.loads(gate.cli("keys", "create", f"web-{number}", "--scheme", "s3", "--json"))
        credentials = Credentials(made["access_key_id"], made["secret_access_key"])
        for _ in range(4):  # a connection of its own each time: any worker may take it
            Clients(gate)(credentials=credentials).list_buckets()
        gate.cli("keys", "retire", f"web-{number}")
        with pytest.raises(ClientError):
            Clients(gate)(credentials=credentials).list_buckets()
