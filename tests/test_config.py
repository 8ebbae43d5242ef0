"""A setting is right, or one sentence names it, its value and what is allowed."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from valetstore.config import Bucket, Budgets, Config, CorsRule, load, parse_address
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Budget

CONFIG = Path(__file__).parent.parent / "config"


def refusal(
    folder: Path,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> str:
    """The sentence with which this configuration is refused."""
    file = folder / "valetstore.toml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        load(file, environment, flags)
    sentence = str(caught.value)
    assert "\n" not in sentence.strip() or "TOML" in sentence
    return sentence


def names(table: type[msgspec.Struct]) -> set[str]:
    return set(table.__struct_encode_fields__)


def table_types() -> dict[str, type[msgspec.Struct]]:
    """The tables of plain settings, by name: all but the CORS rules and the buckets."""
    return {
        field.encode_name: field.type
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }


# The examples.


def uncommented(file: Path) -> dict[str, Any]:
    """The file with its examples switched on: lines that begin with `#` and no space."""
    return tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", file.read_text()))


def test_the_full_example_is_the_default() -> None:
    assert load(CONFIG / "full.toml") == load() == Config()


def test_the_full_example_names_exactly_the_settings_that_exist() -> None:
    shown = tomllib.loads((CONFIG / "full.toml").read_text())
    assert {name: set(table) for name, table in shown.items()} == {
        name: names(table) for name, table in table_types().items()
    }


def test_the_full_examples_examples_show_every_setting_of_buckets_and_rules_and_are_allowed() -> None:
    shown = uncommented(CONFIG / "full.toml")
    msgspec.convert(shown, Config)
    assert {name for bucket in shown["buckets"].values() for name in bucket} == names(Bucket)
    rules = [*shown["cors"], *shown["buckets"]["uploads"]["cors"]]
    assert {name for rule in rules for name in rule} == names(CorsRule)


def test_every_setting_of_the_full_example_says_what_it_is_for() -> None:
    """A comment stands above each setting, or above the group that it stands in."""
    lines = (CONFIG / "full.toml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?[a-z-]+ = ", line):
            above = number - 1
            while re.match(r"#?(\[|[a-z-]+ = )", lines[above]):
                above -= 1
            assert lines[above].startswith("# "), f"{line} has no comment above it"


def test_the_minimal_example_is_allowed_and_small() -> None:
    config = load(CONFIG / "minimal.toml")
    assert config.listen.public_url == "https://files.example.org"
    assert config.data == Path("/var/lib/valetstore")
    assert len((CONFIG / "minimal.toml").read_text().splitlines()) < 20


# Where a setting comes from.


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "valetstore.toml"
    file.write_text("[listen]\nworkers = 2\ndrain-seconds = 2\nhsts-seconds = 2\n")
    config = load(
        file,
        {"VALETSTORE_DRAIN_SECONDS": "3", "VALETSTORE_HSTS_SECONDS": "3"},
        {"hsts-seconds": 4, "listen": None},
    )
    assert (config.listen.workers, config.listen.drain_seconds, config.listen.hsts_seconds) == (2, 3, 4)
    assert config.listen.listen == ("127.0.0.1:8420",)


def test_without_anything_everything_has_its_default() -> None:
    assert load(None, {}, {}) == Config()


def test_every_plain_setting_has_an_environment_variable_of_its_own() -> None:
    every = [name for table in table_types().values() for name in names(table)]
    assert len(every) == len(set(every))
    for table_name, table in table_types().items():
        for field in msgspec.structs.fields(table):
            if field.name in {"audience_required", "address_burst", "subject_burst"}:  # need another setting
                continue
            text, value = in_another_way(field.default)
            if field.name in {
                "workers", "tls_cert", "tls_key", "public_url", "metrics", "listen", "audit_to", "virtual_hosts",
            }:  # fmt: skip
                continue  # have a form of their own, tested below
            variable = "VALETSTORE_" + field.name.upper()
            config = load(None, {variable: text})
            assert getattr(getattr(config, table_name), field.name) == value, variable


def in_another_way(default: object) -> tuple[str, object]:
    """Another value than this default, as text and as it is."""
    if isinstance(default, bool):
        return str(not default).lower(), not default
    if isinstance(default, float):
        return "2.5", 2.5
    if isinstance(default, int):
        return str(default + 1) if default < 1000 else "999", default + 1 if default < 1000 else 999
    if isinstance(default, tuple):
        return "10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")
    return "x", "x"


def test_settings_of_a_form_of_their_own_come_from_the_environment_too() -> None:
    config = load(
        None,
        {
            "VALETSTORE_LISTEN": "127.0.0.1:1, unix:/run/x",
            "VALETSTORE_METRICS": "off",
            "VALETSTORE_PUBLIC_URL": "https://x.example",
            "VALETSTORE_AUDIT_TO": "journald",
            "VALETSTORE_TLS_CERT": "c",
            "VALETSTORE_TLS_KEY": "k",
            "VALETSTORE_AUDIENCE": "a",
            "VALETSTORE_AUDIENCE_REQUIRED": "TRUE",
            "VALETSTORE_VIRTUAL_HOSTS": "localhost, files.example.org",
        },
    )
    assert config.s3.virtual_hosts == ("localhost", "files.example.org")
    assert config.listen.listen == ("127.0.0.1:1", "unix:/run/x")
    assert config.listen.metrics == "off"
    assert config.audit.audit_to == "journald"
    assert config.keys.audience_required


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("WORKERS", "many", "listen.workers: 'many'"),
        ("WORKERS", "0", "listen.workers: 0: must be auto or a whole number from 1 to 1024"),
        ("WORKERS", "1__0", "listen.workers: '1__0'"),
        ("WORKERS", "_", "listen.workers: '_'"),
        ("WORKERS", " 5", "listen.workers: ' 5'"),
        ("WORKERS", "\u0665", "listen.workers: '\u0665'"),
        ("DRAIN_SECONDS", "-1", "listen.drain-seconds: '-1'"),
        ("INSECURE_HTTP", "yes", "listen.insecure-http: 'yes'"),
        ("AUDIT_TO", "syslog", "audit.audit-to: 'syslog'"),
        ("LISTEN", "nowhere", "listen.listen: 'nowhere': must be HOST:PORT"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_settings_name(
    tmp_path: Path, variable: str, text: str, sentence: str
) -> None:
    assert sentence in refusal(tmp_path, "", {f"VALETSTORE_{variable}": text})


def test_a_wrong_flag_is_refused_by_its_settings_name(tmp_path: Path) -> None:
    assert "listen.workers: 'x'" in refusal(tmp_path, flags={"workers": "x"})


# One sentence.


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[listen]\nwrokers = 2", ["listen.wrokers: is not a setting", "allowed here:", "workers"]),
        ("[lisen]\nworkers = 2", ["lisen: is not a setting", "listen, limits"]),
        ("workers = 2", ["workers: is not a setting"]),
        ("[buckets.media]\nrot = 'x'", ["buckets.media.rot: is not a setting", "root, layout"]),
        ("[[cors]]\norigns = ['x']", ["cors[0].origns: is not a setting", "origins, methods"]),
        ("[[buckets.m.cors]]\norigns = ['x']", ["buckets.m.cors[0].origns: is not a setting", "origins"]),
    ],
)
def test_an_unknown_setting_is_refused_and_the_known_ones_are_named(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    sentence = refusal(tmp_path, text)
    assert all(part in sentence for part in parts), sentence


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[listen]\nworkers = '2'", ["listen.workers: '2'", "a whole number"]),
        ("[listen]\nworkers = 1.5", ["listen.workers: 1.5", "a whole number"]),
        ("[listen]\nworkers = true", ["listen.workers: True", "a whole number"]),
        ("[listen]\ninsecure-http = 1", ["listen.insecure-http: 1", "true or false"]),
        ("[listen]\nlisten = '127.0.0.1:1'", ["listen.listen: '127.0.0.1:1'"]),
        ("[listen]\nlisten = [5]", ["listen.listen", "text"]),
        ("[budgets]\naddress-burst = 1.5", ["budgets.address-burst: 1.5: must be a whole number, not a fraction"]),
        (
            "[budgets]\naddress-requests-per-second = 'x'",
            ["address-requests-per-second: 'x': must be a number, not text"],
        ),
        ("[storage]\ndata = 5", ["storage.data: 5", "text"]),
        ("[audit]\naudit-to = 'syslog'", ["audit.audit-to: 'syslog'", "journald"]),
        ("[buckets.media]\nroot = 5", ["buckets.media.root: 5", "text"]),
        ("[buckets.media]\nlayout = 'flat'", ["buckets.media.layout: 'flat'", "files"]),
        ("[[cors]]\nmethods = ['GET']", ["cors[0]", "origins"]),
        ("[[cors]]\norigins = ['x']\nmethods = ['PATCH']", ["cors[0].methods", "PATCH"]),
        ("listen = 3", ["listen", "table"]),
    ],
)
def test_a_wrong_type_is_refused_with_the_value_and_what_is_allowed(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    sentence = refusal(tmp_path, text)
    assert all(part in sentence for part in parts), sentence


@pytest.mark.parametrize(
    ("table", "setting", "value"),
    [
        ("listen", "drain-seconds", -1),
        ("listen", "hsts-seconds", 10**9 + 1),
        ("limits", "header-seconds", 0),
        ("limits", "connections-max", 0),
        ("limits", "upload-bytes-max", 2**60 + 1),
        ("limits", "list-entries-max", 10_001),
        ("keys", "clock-skew-seconds", 901),
        ("replay", "replay-entries-max", 0),
        ("budgets", "subject-transfers-max", -1),
        ("budgets", "address-failures-burst", 1_000_001),
        ("storage", "storage-threads", 257),
        ("storage", "free-bytes-min", -1),
        ("audit", "audit-lines-max", 0),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(tmp_path: Path, table: str, setting: str, value: int) -> None:
    sentence = refusal(tmp_path, f"[{table}]\n{setting} = {value}")
    assert f"{table}.{setting}: {value}: must be a whole number" in sentence
    assert re.search(r"[<>]=", sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[listen]\ntls-cert = 'x'", "tls-key"),
        ("[listen]\npublic-url = 'https://x/path'", "listen.public-url: 'https://x/path'"),
        ("[s3]\nregion = 'US East'", "s3.region: 'US East': must be a region such as us-east-1"),
        ("[s3]\nvirtual-hosts = ['X.org']", "s3.virtual-hosts: 'X.org': must be a domain in lower case"),
        ("[s3]\nvirtual-hosts = ['x.org:80']", "s3.virtual-hosts: 'x.org:80': must be a domain in lower case"),
        ("[s3]\nsigv4 = true", "s3"),
        ("[storage]\nmultipart-seconds-max = 1", "storage.multipart-seconds-max"),
        ("[listen]\nmetrics = 'x'", "listen.metrics: 'x': must be off, HOST:PORT"),
        ("[listen]\nlisten = ['127.0.0.1:65536']", "listen.listen: '127.0.0.1:65536'"),
        ("[listen]\ntrusted-proxies = ['10.0.0.1/8']", "listen.trusted-proxies: '10.0.0.1/8'"),
        ("[keys]\naudience-required = true", "keys.audience"),
        ("[budgets]\naddress-requests-per-second = -0.5", "address-requests-per-second: -0.5: must be a number >= 0"),
        (
            "[budgets]\nsubject-requests-per-second = 1e7",
            "subject-requests-per-second: 10000000.0: must be a number <=",
        ),
        ("[budgets]\naddress-requests-per-second = nan", "address-requests-per-second: nan: must be a number >= 0"),
        ("[budgets]\nsubject-requests-per-second = 1e-7", "1e-07: must be 0, or 0.000001 to 1000000"),
        ("[budgets]\naddress-burst = 5", "budgets.address-burst: 5: needs budgets.address-requests-per-second"),
        ("[budgets]\nsubject-burst = 5", "budgets.subject-burst: 5: needs budgets.subject-requests-per-second"),
        ("[buckets.media]\nroot = 'relative'", "buckets.media.root: 'relative': must be an absolute path"),
        ("[buckets.'a/b']\nroot = '/x'", "buckets.a/b"),
        ("[buckets._valet]\nroot = '/x'", "buckets._valet"),
        ("listen = [", "is not TOML"),
        ("[listen]\nworkers = 1\nworkers = 2", "is not TOML"),
    ],
)
def test_what_types_cannot_say_is_said_too(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in refusal(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigInvalid, match=r"latin\.toml: is not TOML"):
        load(tmp_path / "latin.toml")


# Views.


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8420", ("127.0.0.1", 8420)),
        ("[::1]:0", ("::1", 0)),
        ("files.example.org:443", ("files.example.org", 443)),
        ("unix:/run/x.sock", Path("/run/x.sock")),
    ],
)
def test_addresses_are_a_host_and_a_port_or_a_path(text: str, address: object) -> None:
    assert parse_address("listen", text) == address


@pytest.mark.parametrize("text", ["", "::1:80", "host", "host:", ":80", "host:-1", "host:\u0661", "unix:"])
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"listen: "):
        parse_address("listen", text)


def test_budgets_are_made_of_their_settings_and_0_is_no_limit(tmp_path: Path) -> None:
    assert (Budgets().address, Budgets().subject, Budgets().any) == (None, None, False)
    assert Budgets().failures == Budget(100.0, 10_000)
    file = tmp_path / "valetstore.toml"
    file.write_text("[budgets]\naddress-requests-per-second = 2.5\nsubject-transfers-max = 3\n")
    budgets = load(file, {"VALETSTORE_ADDRESS_FAILURES_PER_SECOND": "0"}).budgets
    assert (budgets.address, budgets.subject, budgets.failures) == (Budget(2.5), Budget(transfers=3), None)
    assert budgets.any
    both = Budgets(address_requests_per_second=1.0, address_burst=9, address_transfers_max=2)
    assert both.address == Budget(1.0, 9, 2)
    assert load(None, {"VALETSTORE_ADDRESS_REQUESTS_PER_SECOND": "0.25"}).budgets.address == Budget(0.25)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e3", "", " 1", "1_0", "\u0661"])
def test_a_rate_in_the_environment_is_a_plain_number(tmp_path: Path, text: str) -> None:
    sentence = refusal(tmp_path, environment={"VALETSTORE_ADDRESS_REQUESTS_PER_SECOND": text})
    assert "budgets.address-requests-per-second" in sentence


def test_a_buckets_own_rules_replace_those_for_all() -> None:
    everyone, own = CorsRule(origins=("*",)), CorsRule(origins=("https://a.example",))
    config = Config(cors=(everyone,), buckets={"a": Bucket(cors=(own,)), "b": Bucket()})
    assert config.cors_rules("a") == (own,)
    assert config.cors_rules("b") == config.cors_rules("unnamed") == (everyone,)


def test_the_data_directory_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load().data == tmp_path / "valet-data"
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(None, {"VALETSTORE_DATA": "~/d"}).data == Path("/home/someone/d")
