"""`valetstore keys --scheme gcs|azure|cloudfront|swift`: what each vendor's tools are given to sign with, and take."""

import base64
import json
import os
import re
import shlex
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas
from botocore.signers import CloudFrontSigner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from google.cloud.storage.client import Client
from google.oauth2 import service_account
from swiftclient.utils import generate_temp_url

from tests.cli.s3 import Line
from valetstore.grants.grant import Profile
from valetstore.keys.ringfile import RingFile, record_of

SCHEMES = ("gcs", "azure", "cloudfront", "swift")
BASE = "http://files.example.org:8420"


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on an empty data directory, of a gateway whose public URL is BASE."""
    return Line(tmp_path / "data", capsys)


@pytest.fixture
def settings(tmp_path: Path) -> tuple[str, str]:
    """Settings that say how clients reach the gateway."""
    file = tmp_path / "valetstore.toml"
    file.write_text(f'[listen]\npublic-url = "{BASE}"\n')
    return "--config", str(file)


def create(line: Line, scheme: str, *options: str, name: str = "web") -> Any:
    """What `keys create --json` prints."""
    return line.json("keys", "create", name, "--scheme", scheme, *options)


def mode_of(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


# --- what is made ------------------------------------------------------------------------------------------------

MEMBERS: dict[tuple[str, ...], list[str]] = {
    ("gcs",): ["client_email", "service_account_file"],
    ("gcs", "--hmac"): ["access_id", "secret"],
    ("azure",): ["account_name", "account_key", "connection_string"],
    ("cloudfront",): ["key_pair_id", "private_key_file"],
    ("cloudfront", "--ec"): ["key_pair_id", "private_key_file"],
    ("swift",): ["account", "key"],
}


@pytest.mark.parametrize("made", MEMBERS, ids=" ".join)
def test_as_json_it_has_what_a_program_needs(made: tuple[str, ...], line: Line) -> None:
    scheme, *options = made
    found = create(line, scheme, *options, "--prefix", "/photos/", "--ops", "read")
    assert list(found) == ["name", "scheme", *MEMBERS[made], "endpoint_url", "profile"]
    assert (found["name"], found["scheme"], found["endpoint_url"]) == ("web", scheme, None)
    assert found["profile"] == {"operations": ["read"], "prefixes": ["/photos/"]}
    assert RingFile(line.data).load().find(scheme, found[MEMBERS[made][0]]) is not None


def test_what_is_made_is_unmistakably_not_the_vendors(line: Line) -> None:
    assert create(line, "gcs")["client_email"] == "web@valetstore.invalid"
    assert create(line, "gcs", "--hmac", name="hmac")["access_id"].startswith("VK")
    assert create(line, "cloudfront", name="cdn")["key_pair_id"].startswith("KV")
    assert create(line, "swift", name="os")["account"] == "AUTH_os"
    assert create(line, "azure", name="My-Web.1_x")["account_name"] == "myweb1x"


def test_keys_are_as_long_as_the_vendors_own(line: Line) -> None:
    assert len(base64.b64decode(create(line, "azure", name="one")["account_key"])) == 64
    assert re.fullmatch("[0-9a-f]{64}", create(line, "swift", name="two")["key"])
    assert len(create(line, "gcs", "--hmac", name="three")["secret"]) == 40


def test_names_may_be_given(line: Line) -> None:
    assert create(line, "gcs", "--client-email", "a@b.example", name="one")["client_email"] == "a@b.example"
    assert create(line, "azure", "--account", "acct1", name="two")["account_name"] == "acct1"
    assert create(line, "cloudfront", "--key-pair-id", "K2JCJMDEHXQW5F", name="three")["key_pair_id"].endswith("5F")
    assert create(line, "swift", "--account", "AUTH_test", name="four")["account"] == "AUTH_test"


# --- files -------------------------------------------------------------------------------------------------------


def test_files_beside_the_ring_are_their_owners_alone(line: Line) -> None:
    google, cdn = create(line, "gcs", name="google"), create(line, "cloudfront", name="cdn")
    keys = line.data / "keys"
    assert google["service_account_file"] == str(keys / "google.service-account.json")
    assert cdn["private_key_file"] == str(keys / "cdn.pem")
    assert {path.name for path in keys.iterdir()} == {
        "ring.json", "lock", "cdn.pem", "google.pem", "google.service-account.json",
    }  # fmt: skip
    assert {mode_of(path) for path in keys.iterdir()} == {0o600}
    assert "PRIVATE" not in (keys / "ring.json").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand files over")
def test_files_that_root_makes_belong_to_who_owns_the_data(line: Line) -> None:
    line.data.mkdir()
    os.chown(line.data, 4242, 4242)
    create(line, "gcs")
    assert {path.stat().st_uid for path in (line.data / "keys").iterdir()} == {4242}


def test_a_signing_key_called_ring_does_not_overwrite_the_ring(line: Line) -> None:
    create(line, "gcs", name="ring")
    create(line, "cloudfront", name="lock")
    assert len(RingFile(line.data).load()) == 2


OUT: dict[tuple[str, ...], Callable[[Any], str]] = {
    ("gcs",): lambda made: made["client_email"],
    ("gcs", "--hmac"): lambda made: made["secret"] + "\n",
    ("azure",): lambda made: f"AccountKey={made['account_key']};BlobEndpoint=http://127.0.0.1:8420/web;\n",
    ("cloudfront",): lambda _: "-----BEGIN RSA PRIVATE KEY-----\n",
    ("cloudfront", "--ec"): lambda _: "-----BEGIN EC PRIVATE KEY-----\n",
    ("swift",): lambda made: made["key"] + "\n",
}


@pytest.mark.parametrize("asked", OUT, ids=" ".join)
def test_out_has_what_its_user_takes_away_and_no_copy_is_kept(
    asked: tuple[str, ...], line: Line, tmp_path: Path
) -> None:
    scheme, *options = asked
    out = tmp_path / "my file"
    made = create(line, scheme, *options, "--out", str(out))
    assert mode_of(out) == 0o600
    assert OUT[asked](made) in out.read_text()
    for member in ("service_account_file", "private_key_file"):
        assert made.get(member, str(out)) == str(out)
    assert {path.name for path in (line.data / "keys").iterdir()} == {"ring.json", "lock"}
    assert "exists; choose another file" in line.refused(
        "keys", "create", "other", "--scheme", scheme, "--out", str(out)
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_where_nothing_is_made_no_file_is_left(scheme: str, line: Line, tmp_path: Path) -> None:
    line("keys", "create", "web")
    out = tmp_path / "out"
    assert "exists" in line.refused("keys", "create", "web", "--scheme", scheme, "--out", str(out))
    assert "exists" in line.refused("keys", "create", "web", "--scheme", scheme)
    assert not out.exists()
    assert {path.name for path in (line.data / "keys").iterdir()} == {"ring.json", "lock"}


def test_a_private_half_that_is_kept_elsewhere_is_asked_for(line: Line, tmp_path: Path) -> None:
    for scheme in ("gcs", "cloudfront"):
        create(line, scheme, "--out", str(tmp_path / scheme), name=scheme)
        said = line.refused("sign", "GET", "/a/b", "--scheme", scheme)
        assert "its private half is not kept here" in said


@pytest.mark.parametrize("asked", [("cloudfront",), ("cloudfront", "--ec"), ("gcs",)], ids=" ".join)
def test_sign_uses_the_private_half_that_is_kept(asked: tuple[str, ...], line: Line) -> None:
    create(line, *asked)
    url = line("sign", "GET", "/photos/cat.jpg", "--scheme", asked[0]).strip()
    assert line.json("inspect", url)["admitted"]


# --- in words ----------------------------------------------------------------------------------------------------


def test_google_is_told_a_file_and_an_endpoint(line: Line, settings: tuple[str, str]) -> None:
    out = line("keys", "create", "web", "--scheme", "gcs", *settings)
    file = line.data / "keys/web.service-account.json"
    assert f"export GOOGLE_APPLICATION_CREDENTIALS={file}" in out.splitlines()
    assert f'client_options={{"api_endpoint": "{BASE}"}}' in out
    assert "PRIVATE" not in out
    assert line.errors == ""
    out = line("keys", "create", "old", "--scheme", "gcs", "--hmac", *settings)
    made = line.json("keys", "show", "old", "--secret")
    assert f"access id: {made['access_id']}\nsecret: {made['secret']}\n" in out


def test_azure_is_told_a_connection_string(line: Line, settings: tuple[str, str]) -> None:
    out = line("keys", "create", "web", "--scheme", "azure", *settings)
    service = BlobServiceClient.from_connection_string(out.splitlines()[1])
    assert service.url.rstrip("/") == f"{BASE}/web"
    assert service.account_name == "web"
    made = create(line, "azure", *settings, name="other")
    assert BlobServiceClient.from_connection_string(made["connection_string"]).account_name == "other"


def test_cloudfront_is_told_an_id_and_a_file(line: Line, settings: tuple[str, str]) -> None:
    out = line("keys", "create", "web", "--scheme", "cloudfront", *settings)
    made = line.json("keys", "show", "web")
    assert f"key pair id: {made['key_pair_id']}" in out
    assert f"private key file: {line.data / 'keys/web.pem'}" in out
    assert BASE in out


def test_swift_is_told_a_command(line: Line, settings: tuple[str, str], tmp_path: Path) -> None:
    out = line("keys", "create", "web", "--scheme", "swift", *settings)
    key = line.json("keys", "show", "web", "--secret")["key"]
    assert shlex.split(out.splitlines()[1]) == [
        "swift", "tempurl", "GET", "3600", "/v1/AUTH_web/CONTAINER/OBJECT", key,
    ]  # fmt: skip
    out = line("keys", "create", "two", "--scheme", "swift", "--out", str(tmp_path / "a key"))
    assert f"$(cat '{tmp_path / 'a key'}')" in out


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_address_that_is_only_likely_is_called_so(scheme: str, line: Line) -> None:
    out = line("keys", "create", "web", "--scheme", scheme)
    assert "http://127.0.0.1:8420" in out
    assert "where a gateway would listen: listen.public-url is not set" in line.errors
    file = line.data.parent / "unix.toml"
    file.write_text('[listen]\nlisten = ["unix:/run/valetstore.sock"]\n')
    assert "https://GATEWAY" in line("keys", "create", "two", "--scheme", scheme, "--config", str(file))


def test_with_out_no_secret_is_shown_on_a_terminal(line: Line, tmp_path: Path) -> None:
    for scheme in ("azure", "swift"):
        out = line("keys", "create", scheme, "--scheme", scheme, "--out", str(tmp_path / scheme))
        shown = line.json("keys", "show", scheme, "--secret")
        assert (shown.get("account_key") or shown["key"]) not in out
        assert str(tmp_path / scheme) in out


# --- SDKs load it, and what they sign is admitted ----------------------------------------------------------------


def test_googles_sdk_loads_the_file_as_it_is(line: Line) -> None:
    made = create(line, "gcs")
    load: Callable[[str], Any] = service_account.Credentials.from_service_account_file
    credentials = load(made["service_account_file"])
    assert credentials.service_account_email == "web@valetstore.invalid"
    key = RingFile(line.data).load().named("web")
    assert key is not None
    public = serialization.load_pem_public_key((key.record.public_key or "").encode())
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(credentials.sign_bytes(b"text"), b"text", padding.PKCS1v15(), hashes.SHA256())
    members = json.loads(Path(made["service_account_file"]).read_text())
    assert members["type"] == "service_account"
    assert not {name for name, value in members.items() if name.endswith(("_uri", "_url")) and "google" in value}


@pytest.mark.parametrize("version", ["v4", "v2"])
def test_googles_client_signs_with_it(version: str, line: Line) -> None:
    made = create(line, "gcs")
    client = Client.from_service_account_json(made["service_account_file"], client_options={"api_endpoint": BASE})
    url = (
        client.bucket("photos")
        .blob("cat.jpg")
        .generate_signed_url(version=version, expiration=timedelta(minutes=5), api_access_endpoint=BASE)
    )
    assert line.json("inspect", url)["signing_key"] == "web"


def azure_url(account: str, key: str) -> str:
    """A shared access signature of Azure's SDK."""
    until = datetime.now(UTC) + timedelta(minutes=5)
    permission = BlobSasPermissions(read=True)
    sas = generate_blob_sas(account, "photos", "cat.jpg", account_key=key, permission=permission, expiry=until)
    return f"{BASE}/{account}/photos/cat.jpg?{sas}"


def swift_url(account: str, key: str) -> str:
    """A TempURL of Swift's client."""
    return f"{BASE}{generate_temp_url(f'/v1/{account}/photos/cat.jpg', 300, key, 'GET')}"


def cloudfront_url(key_pair_id: str, pem: bytes) -> str:
    """A canned policy of botocore's signer, over SHA-1."""
    private = serialization.load_pem_private_key(pem, None)
    assert isinstance(private, rsa.RSAPrivateKey)
    signer = CloudFrontSigner(key_pair_id, lambda text: private.sign(text, padding.PKCS1v15(), hashes.SHA1()))
    until = datetime.now(UTC) + timedelta(minutes=5)
    return str(signer.generate_presigned_url(f"{BASE}/photos/cat.jpg", date_less_than=until))


def test_what_azures_swifts_and_cloudfronts_signers_make_is_admitted(line: Line) -> None:
    azure, swift = create(line, "azure", name="azure"), create(line, "swift", name="swift")
    cdn = create(line, "cloudfront", name="cdn")
    for name, url in (
        ("azure", azure_url(azure["account_name"], azure["account_key"])),
        ("swift", swift_url(swift["account"], swift["key"])),
        ("cdn", cloudfront_url(cdn["key_pair_id"], Path(cdn["private_key_file"]).read_bytes())),
    ):
        found = line.json("inspect", url)
        assert (found["admitted"], found["signing_key"]) == (True, name)


# --- what exists elsewhere ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> rsa.RSAPrivateKey:
    """A private key that never comes near the gateway."""
    return rsa.generate_private_key(65537, 2048)


def pem_of(pair: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """Its public half."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return pair.public_key().public_bytes(serialization.Encoding.PEM, form)


def private_pem(pair: rsa.RSAPrivateKey) -> bytes:
    """The key itself."""
    form = serialization.PrivateFormat.PKCS8
    return pair.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def certificate_of(pair: rsa.RSAPrivateKey) -> bytes:
    """A certificate as Google hands it out for a service account; it ended long ago, which does not matter."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(pair.public_key())
    builder = (
        builder.serial_number(1)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2001, 1, 1, tzinfo=UTC))
    )
    return builder.sign(pair, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def account_file(email: str, private_key: str) -> str:
    """A service account's file with what its readers need."""
    return json.dumps({
        "type": "service_account", "client_email": email, "private_key": private_key,
        "token_uri": "https://accounts.invalid/token",
    })  # fmt: skip


def google_url(folder: Path, pair: rsa.RSAPrivateKey, email: str) -> str:
    """A V4 URL of Google's SDK."""
    file = folder / f"signer-{time.monotonic_ns()}.json"
    file.write_text(account_file(email, private_pem(pair).decode()))
    client = Client.from_service_account_json(str(file), project="p")
    blob = client.bucket("photos").blob("cat.jpg")
    return str(blob.generate_signed_url(version="v4", expiration=300, api_access_endpoint=BASE))


@pytest.mark.parametrize("form", ["public key", "certificate", "service account"])
def test_a_service_account_that_exists_is_taken_by_its_public_half(
    form: str, line: Line, tmp_path: Path, pair: rsa.RSAPrivateKey
) -> None:
    file = tmp_path / "given"
    email = "app@project.iam.gserviceaccount.com"
    contents = {
        "public key": pem_of(pair),
        "certificate": certificate_of(pair),
        "service account": account_file(email, private_pem(pair).decode()).encode(),
    }
    file.write_bytes(contents[form])
    given = ["--service-account", str(file)]
    if form != "service account":
        given = ["--public-key", str(file), "--client-email", email]
    made = line.json("keys", "import", "app", "--scheme", "gcs", *given)
    assert (made["client_email"], made["alg"], made["scheme"]) == (email, "RSA", "gcs")
    assert made["public_key"] == pem_of(pair).decode()
    for path in (line.data / "keys").iterdir():
        assert "PRIVATE" not in path.read_text()
    assert line.json("inspect", google_url(tmp_path, pair, email))["signing_key"] == "app"


def test_an_hmac_key_of_googles_is_taken(line: Line, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("bGoa+V7g/yqDXvKRqq+JTFn4uQZbPiQJo4pf9RzJ\n")
    given = ["--access-id", "GOOG1EXAMPLE", "--secret-file", str(tmp_path / "secret")]
    assert line.json("keys", "import", "app", "--scheme", "gcs", *given)["access_id"] == "GOOG1EXAMPLE"
    assert line.json("keys", "show", "app", "--secret")["secret"] == "bGoa+V7g/yqDXvKRqq+JTFn4uQZbPiQJo4pf9RzJ"


@pytest.mark.parametrize("form", ["key", "connection string"])
def test_an_account_of_azures_is_taken(form: str, line: Line, tmp_path: Path) -> None:
    key = base64.b64encode(os.urandom(64)).decode()
    file = tmp_path / "given"
    if form == "key":
        file.write_text(f"{key}\n")
        given = ["--account", "acct", "--account-key-file", str(file)]
    else:
        file.write_text(f"DefaultEndpointsProtocol=https;accountname=acct;AccountKey={key};EndpointSuffix=x.net\r\n")
        given = ["--connection-string-file", str(file)]
    made = line.json("keys", "import", "app", "--scheme", "azure", *given)
    assert made["account_name"] == "acct"
    assert "account_key" not in made
    assert line.json("keys", "show", "app", "--secret")["account_key"] == key
    assert line.json("inspect", azure_url("acct", key))["admitted"]


def test_a_public_key_of_cloudfronts_is_taken(line: Line, tmp_path: Path, pair: rsa.RSAPrivateKey) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for name, algorithm, pem in (("one", "RSA", pem_of(pair)), ("two", "ECDSA", pem_of(curve))):
        (tmp_path / name).write_bytes(pem)
        given = ["--public-key", str(tmp_path / name), "--key-pair-id", f"K-{name}"]
        made = line.json("keys", "import", name, "--scheme", "cloudfront", *given)
        assert (made["key_pair_id"], made["alg"]) == (f"K-{name}", algorithm)
    assert line.json("inspect", cloudfront_url("K-one", private_pem(pair)))["admitted"]


def test_a_key_of_swifts_is_taken_and_a_short_one_warned_of(line: Line, tmp_path: Path) -> None:
    for name, key, is_short in (("long", "sixteen or more characters", False), ("short", "geheim-ß", True)):
        (tmp_path / name).write_text(f"{key}\n", encoding="utf-8")
        given = ["--account", f"AUTH_{name}", "--secret-file", str(tmp_path / name)]
        out = line("keys", "import", name, "--scheme", "swift", *given)
        assert out == f"Imported signing key {name} (Swift, account AUTH_{name}).\n"
        assert ("can be guessed from one URL" in line.errors) == is_short
        assert key not in line.errors
        assert line.json("keys", "show", name, "--secret")["key"] == key
        assert line.json("inspect", swift_url(f"AUTH_{name}", key))["admitted"]


# --- rotation ----------------------------------------------------------------------------------------------------


def test_a_second_key_of_one_account_holds_until_one_is_retired(line: Line) -> None:
    azure = [create(line, "azure", "--account", "acct", name=f"azure-{n}")["account_key"] for n in (1, 2)]
    swift = [create(line, "swift", "--account", "AUTH_a", name=f"swift-{n}")["key"] for n in (1, 2)]
    urls = [*(azure_url("acct", key) for key in azure), *(swift_url("AUTH_a", key) for key in swift)]
    assert [line.json("inspect", url)["signing_key"] for url in urls] == ["azure-1", "azure-2", "swift-1", "swift-2"]
    for name in ("azure-1", "swift-1"):
        line("keys", "retire", name)
    codes = [json.loads(line("inspect", url, "--json", status=status)).get("code")
             for url, status in zip(urls, (1, 0, 1, 0), strict=True)]  # fmt: skip
    assert codes == ["key_revoked", None, "key_revoked", None]


def test_a_second_key_of_one_service_account_holds(line: Line, tmp_path: Path, pair: rsa.RSAPrivateKey) -> None:
    email = "app@project.iam.gserviceaccount.com"
    pairs = [pair, rsa.generate_private_key(65537, 2048)]
    for number, one in enumerate(pairs):
        (tmp_path / "pem").write_bytes(pem_of(one))
        given = ["--public-key", str(tmp_path / "pem"), "--client-email", email]
        line("keys", "import", f"app-{number}", "--scheme", "gcs", *given)
    urls = [google_url(tmp_path, one, email) for one in pairs]
    assert [line.json("inspect", url)["signing_key"] for url in urls] == ["app-0", "app-1"]


def test_that_a_made_up_name_is_shared_has_to_be_said(line: Line) -> None:
    create(line, "azure", name="my-web")
    said = line.refused("keys", "create", "myweb", "--scheme", "azure")
    assert "--account: 'myweb', as made of this name, is that of the signing key 'my-web'" in said
    create(line, "azure", "--account", "myweb", name="myweb")
    create(line, "swift", "--account", "AUTH_b", name="a")
    assert "--account: 'AUTH_b'" in line.refused("keys", "create", "b", "--scheme", "swift")
    create(line, "gcs", "--client-email", "d@valetstore.invalid", name="c")
    assert "--client-email: 'd@valetstore.invalid'" in line.refused("keys", "create", "d", "--scheme", "gcs")


def test_a_key_pair_id_is_given_once(line: Line) -> None:
    create(line, "cloudfront", "--key-pair-id", "K-1", name="one")
    said = line.refused("keys", "create", "two", "--scheme", "cloudfront", "--key-pair-id", "K-1")
    assert "the key id 'K-1' is used twice" in said
    assert not (line.data / "keys/two.pem").exists()


def test_what_signs_for_one_id_signs_for_no_other(line: Line, tmp_path: Path, pair: rsa.RSAPrivateKey) -> None:
    """The id in a URL is not signed: who holds one could name the other, and have its profile."""
    secret, public, account = tmp_path / "secret", tmp_path / "public", tmp_path / "account"
    secret.write_text(f"{'s' * 40}\n")
    public.write_bytes(pem_of(pair))
    account.write_text(account_file("c@d", private_pem(pair).decode()))
    google, front = ("import", "--scheme", "gcs"), ("import", "--scheme", "cloudfront")
    taken = (
        ((*google, "--secret-file", str(secret), "--access-id"), "secret"),
        ((*google, "--public-key", str(public), "--client-email"), "public key"),
        ((*front, "--public-key", str(public), "--key-pair-id"), "public key"),
        (("create", "--scheme", "s3", "--secret-file", str(secret), "--access-key-id"), "secret"),
    )
    for number, ((command, *options), what) in enumerate(taken):
        one, two = f"one-{number}", f"two-{number}"
        line("keys", command, one, *options, f"ABCDEFGHIJKLMNO{number}")
        line("keys", "retire", one)  # who holds what it signed must not revive it
        said = line.refused("keys", command, two, *options, "QRSTUVWXYZABCDEF")
        assert f"signing key {two!r}: {one!r} has the same {what}; URLs do not sign the id" in said
        assert "sss" not in said
    said = line.refused("keys", "import", "file", "--scheme", "gcs", "--service-account", str(account))
    assert "'one-1' has the same public key" in said


def test_the_ring_itself_takes_what_an_operator_has_written_there(line: Line, pair: rsa.RSAPrivateKey) -> None:
    public = pem_of(pair).decode()
    for name in ("one", "two"):
        record = record_of(name, "RSA", Profile(), kid=f"K-{name}", public_key=public, scheme="cloudfront")
        RingFile(line.data).add(record)
    assert [row["name"] for row in line.json("keys", "list")] == ["one", "two"]


# --- lists -------------------------------------------------------------------------------------------------------


def test_lists_show_whose_a_key_is_and_no_secret(line: Line) -> None:
    secrets = {}
    for scheme, options in (("gcs", ["--hmac"]), ("azure", []), ("swift", [])):
        made = create(line, scheme, *options, name=f"my{scheme}")
        (member,) = {"secret", "account_key", "key"} & set(made)
        secrets[scheme] = (member, made[member])
    create(line, "cloudfront", name="mycdn")
    rows = [row.split()[:4] for row in line("keys", "list").splitlines()[1:]]
    assert [row[1] for row in rows] == ["gcs", "azure", "swift", "cloudfront"]
    assert rows[1] == ["myazure", "azure", "myazure", "HMAC"]
    for scheme, (member, secret) in secrets.items():
        name = f"my{scheme}"
        for arguments in (("list",), ("list", "--json"), ("show", name), ("show", name, "--json")):
            assert secret not in line("keys", *arguments)
        assert line.json("keys", "show", name, "--secret")[member] == secret
        assert f"{member.replace('_', ' ')}: {secret}" in line("keys", "show", name, "--secret")
    assert "myazure: Azure Blob, account name myazure, active" in line("keys", "show", "myazure")
    assert "-----BEGIN PUBLIC KEY-----" in line("keys", "show", "mycdn", "--secret")


def test_any_of_them_is_retired(line: Line) -> None:
    for scheme in SCHEMES:
        create(line, scheme, name=scheme)
        line("keys", "retire", scheme)
        assert "is retired" in line.refused("sign", "GET", "/a/b", "--scheme", scheme, "--key", scheme)
    assert line("keys", "list").count("retired") == len(SCHEMES)


# --- what does not fit -------------------------------------------------------------------------------------------

WRONG: list[tuple[list[str], str]] = [
    (["create", "web", "--scheme", "gcs", "--alg", "RS256"], "--alg: is for JWTs, not for Google Cloud Storage"),
    (["create", "web", "--scheme", "azure", "--private-out", "x"], "--private-out: is for JWTs, not for Azure Blob"),
    (["create", "web", "--account", "x"], "--account: needs --scheme azure or swift"),
    (["create", "web", "--out", "x"], "--out: needs --scheme gcs, azure, cloudfront or swift"),
    (["create", "web", "--scheme", "s3", "--out", "x"], "--out: is for --scheme gcs, azure, cloudfront or swift, not"),
    (["create", "web", "--scheme", "swift", "--ec"], "--ec: is for --scheme cloudfront, not for Swift"),
    (["create", "web", "--scheme", "azure", "--hmac"], "--hmac: is for --scheme gcs, not for Azure Blob"),
    (["create", "web", "--scheme", "gcs", "--account", "x"], "--account: is for --scheme azure or swift, not for"),
    (["create", "web", "--scheme", "gcs", "--client-email", "a/b"], "--client-email: 'a/b': must be a service"),
    (["create", "web", "--scheme", "gcs", "--hmac", "--client-email", "a@b"], "--client-email: is a service account's"),
    (["create", "web", "--scheme", "azure", "--account", "A-1"], "--account: account name 'A-1': must be 3 to 24"),
    (["create", "a_", "--scheme", "azure"], "--account: no account name can be made of 'a_'"),
    (["create", "x" * 30, "--scheme", "azure"], "--account: no account name can be made of"),
    (["create", "web", "--scheme", "cloudfront", "--key-pair-id", "a b"], "--key-pair-id: key pair id 'a b': must be"),
    (["create", "web", "--scheme", "swift", "--account", "a/b"], "--account: account 'a/b': must be 1 to 128"),
    (["create", "web", "--scheme", "gcs", "--ops", "admin"], "--ops 'admin': nothing of Google Cloud Storage is admin"),
    (["create", "web", "--scheme", "swift", "--out", "no/x"], "--out 'no/x': no is no folder"),
    (["create", "_web", "--scheme", "swift"], "names that begin with `_` are the gateway's own"),
    (["import", "web", "--scheme", "gcs"], "--scheme gcs: give exactly one of --public-key (with --client-email)"),
    (["import", "web", "--scheme", "gcs", "--public-key", "x", "--access-id", "y"], "give exactly one of"),
    (["import", "web", "--scheme", "gcs", "--public-key", "x"], "needs --public-key and --client-email"),
    (["import", "web", "--scheme", "gcs", "--access-id", "GOOG1"], "needs --access-id and --secret-file"),
    (["import", "web", "--scheme", "gcs", "--service-account", "no.json"], "--service-account no.json: cannot be read"),
    (["import", "web", "--scheme", "gcs", "--service-account", "/dev/null"], "/dev/null: is not a service account's"),
    (
        ["import", "web", "--scheme", "gcs", "--service-account", "x", "--client-email", "a@b"],
        "--client-email: the --service-account file says it",
    ),
    (
        ["import", "web", "--scheme", "gcs", "--public-key", "/dev/null", "--client-email", "a@b"],
        "--public-key /dev/null: the public key is not a PEM",
    ),
    (["import", "web", "--scheme", "azure"], "needs --account and --account-key-file, or --connection-string-file"),
    (["import", "web", "--scheme", "azure", "--account", "acct"], "needs --account and --account-key-file"),
    (
        ["import", "web", "--scheme", "azure", "--account", "acct", "--connection-string-file", "x"],
        "--connection-string-file: says --account and --account-key-file; leave them away",
    ),
    (
        ["import", "web", "--scheme", "azure", "--account", "acct", "--account-key-file", "/dev/null"],
        "--account-key-file /dev/null: the account key has 0 bytes",
    ),
    (
        ["import", "web", "--scheme", "azure", "--connection-string-file", "/dev/null"],
        "--connection-string-file /dev/null: is not a connection string",
    ),
    (["import", "web", "--scheme", "cloudfront", "--key-pair-id", "K-1"], "needs --public-key and --key-pair-id"),
    (
        ["import", "web", "--scheme", "cloudfront", "--key-pair-id", "K-1", "--public-key", "/dev/null"],
        "--public-key /dev/null: the public key is not a PEM",
    ),
    (["import", "web", "--scheme", "swift", "--account", "AUTH_a"], "needs --account and --secret-file"),
    (
        ["import", "web", "--scheme", "swift", "--account", "AUTH_a", "--secret-file", "/dev/null"],
        "--secret-file /dev/null: the key has 0 bytes",
    ),
    (["import", "web", "--scheme", "azure", "--jwks", "x"], "--jwks: is for JWTs, not for Azure Blob"),
    (["import", "web", "--scheme", "azure", "--public-key", "x"], "--public-key: is for --scheme native, gcs or cloud"),
    (["import", "web", "--account-key-file", "x"], "--account-key-file: needs --scheme azure"),
    (["session", "web"], "there is none of that name"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_does_not_fit_is_one_sentence(arguments: list[str], said: str, line: Line) -> None:
    assert said in line.refused("keys", *arguments)
    assert not (line.data / "keys/ring.json").exists()


def test_files_that_are_none_are_named_and_not_shown(line: Line, tmp_path: Path, pair: rsa.RSAPrivateKey) -> None:
    secret = "c2VjcmV0LXRleHQtdGhhdC1tdXN0LW5vdC1iZS1zaG93bg"
    file = tmp_path / "file"
    small = rsa.generate_private_key(65537, 1024)
    curve = ec.generate_private_key(ec.SECP384R1())
    for content, options, said in (
        (
            f'{{"client_email": "a@b", "private_key": "{secret}"}}',
            ["gcs", "--service-account"],
            "is not an unencrypted",
        ),
        (f'{{"client_email": 1, "x": "{secret}"}}', ["gcs", "--service-account"], "is not a service account's"),
        (secret, ["gcs", "--service-account"], "is not a service account's JSON file"),
        (f"{secret}!", ["azure", "--account", "acct", "--account-key-file"], "is not base64"),
        (f"AccountName=acct;AccountKey={secret}!", ["azure", "--connection-string-file"], "is not base64"),
        (f"AccountName=A_1;AccountKey={secret}", ["azure", "--connection-string-file"], "must be 3 to 24"),
        (f"{secret}\n{secret}", ["swift", "--account", "AUTH_a", "--secret-file"], "must be one line"),
        (pem_of(small).decode(), ["cloudfront", "--key-pair-id", "K-1", "--public-key"], "has 1024 bits"),
        (pem_of(curve).decode(), ["cloudfront", "--key-pair-id", "K-1", "--public-key"], "P-256"),
        (private_pem(pair).decode(), ["cloudfront", "--key-pair-id", "K-1", "--public-key"], "is not a PEM"),
        ("-----BEGIN CERTIFICATE-----\nx", ["gcs", "--client-email", "a@b", "--public-key"], "not one in X.509"),
    ):
        file.write_text(content)
        refusal = line.refused("keys", "import", "web", "--scheme", *options, str(file))
        assert f"{options[-1]} {file}: " in refusal
        assert said in refusal
        assert secret[:12] not in refusal
    assert not (line.data / "keys/ring.json").exists()


@pytest.mark.parametrize("command", [("keys", "create"), ("keys", "import"), ("sign",), ("inspect",), ("revoke",)])
def test_help_names_every_vendor(command: tuple[str, ...], line: Line) -> None:
    out = line(*command, "--help")
    if command[0] in ("keys", "sign"):
        for scheme in SCHEMES:
            assert scheme in out
    assert max(map(len, out.splitlines())) <= 100
