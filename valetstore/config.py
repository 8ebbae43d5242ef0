"""Settings: a TOML file, then the environment, then flags; typed, units in the names, unknown ones refused.

Every setting's name is unique across the tables, so that its environment variable is `VALETSTORE_` and the
name alone (`VALETSTORE_DRAIN_SECONDS`). Bucket tables have no environment form. The environment is read by
whoever calls `load`, never here.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import Meta

from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.grant import AT_ONCE_MAX, RATE_MAX, RATE_MIN, Budget
from valetstore.objectkey import check_bucket

Seconds = Annotated[int, Meta(ge=0, le=10**9)]
Count = Annotated[int, Meta(ge=1, le=10**12)]
Bytes = Annotated[int, Meta(ge=0, le=2**60)]
Rate = Annotated[float, Meta(ge=0, le=RATE_MAX)]
AtOnce = Annotated[int, Meta(ge=0, le=AT_ONCE_MAX)]

WORKERS_MAX: Final = 1024
RESUMABLE_SECONDS_MAX: Final = 10**7
"""115 days: so long may an upload go on after the end of the key that began it."""

ENVIRONMENT_PREFIX: Final = "VALETSTORE_"
NOT_SETTINGS: Final = frozenset({"VALETSTORE_CONFIG", "VALETSTORE_DEBUG", "VALETSTORE_VECTORS"})
"""Variables with our prefix that are no settings: the settings file, tracebacks, the tests' vectors."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", kw_only=True):
    pass


class Listen(_Table, frozen=True):
    """Where the gateway accepts, and what stands before it."""

    listen: Annotated[tuple[str, ...], Meta(min_length=1)] = ("127.0.0.1:8420",)
    metrics: str = "127.0.0.1:9420"
    public_url: str = ""
    insecure_http: bool = False
    trusted_proxies: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    hsts_seconds: Seconds = 31_536_000
    workers: Annotated[int, Meta(ge=1, le=WORKERS_MAX)] | Literal["auto"] = "auto"
    drain_seconds: Seconds = 30


class Limits(_Table, frozen=True):
    """How much one client, and all together, may take."""

    connections_max: Count = 10_000
    connections_per_address_max: Count = 1_000
    header_seconds: Annotated[int, Meta(ge=1, le=3600)] = 10
    keep_alive_seconds: Annotated[int, Meta(ge=1, le=3600)] = 75
    upload_bytes_per_second_min: Bytes = 1_024
    download_bytes_per_second_min: Bytes = 1_024
    rate_grace_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30
    upload_bytes_max: Bytes = 5 * 2**40
    list_entries_max: Annotated[int, Meta(ge=1, le=10_000)] = 1_000


class Keys(_Table, frozen=True):
    """How keys are judged."""

    clock_skew_seconds: Annotated[int, Meta(ge=0, le=900)] = 10
    audience: str = ""
    audience_required: bool = False


class S3(_Table, frozen=True):
    """What S3's clients find here."""

    region: str = "us-east-1"
    sigv2: bool = True
    virtual_hosts: tuple[str, ...] = ("localhost",)


class Gcs(_Table, frozen=True):
    """Keys of Google Cloud Storage. `resumable_seconds`: how long a resumable upload may go on once it was begun."""

    gcs_v2: bool = True
    resumable_seconds: Annotated[int, Meta(ge=60, le=RESUMABLE_SECONDS_MAX)] = 604_800


class CloudFront(_Table, frozen=True):
    """Keys of CloudFront."""

    cloudfront_sha1: bool = True


class Swift(_Table, frozen=True):
    """Keys of OpenStack Swift."""

    tempurl_sha1: bool = True


class Replay(_Table, frozen=True):
    """Single use."""

    replay_entries_max: Count = 1_000_000


class Budgets(_Table, frozen=True, dict=True):
    """How much one address and one subject may ask for, over all workers; 0 for no limit."""

    address_requests_per_second: Rate = 0.0
    address_burst: AtOnce = 0
    address_transfers_max: AtOnce = 0
    subject_requests_per_second: Rate = 0.0
    subject_burst: AtOnce = 0
    subject_transfers_max: AtOnce = 0
    address_failures_per_second: Rate = 100.0
    address_failures_burst: AtOnce = 10_000

    @cached_property
    def address(self) -> Budget | None:
        """Of one address (`networks.address_group`), None for no limit."""
        return _budget(self.address_requests_per_second, self.address_burst, self.address_transfers_max)

    @cached_property
    def subject(self) -> Budget | None:
        """Of one subject of one signing key."""
        return _budget(self.subject_requests_per_second, self.subject_burst, self.subject_transfers_max)

    @cached_property
    def failures(self) -> Budget | None:
        """Of verifications that fail, of one address."""
        return _budget(self.address_failures_per_second, self.address_failures_burst, 0)

    @cached_property
    def any(self) -> bool:
        """Whether requests count against a budget that the settings set."""
        return self.address is not None or self.subject is not None


class Storage(_Table, frozen=True):
    """Where the bytes are."""

    data: str = "valet-data"
    free_bytes_min: Bytes = 256 * 2**20
    create_buckets: bool = True
    storage_threads: Annotated[int, Meta(ge=1, le=256)] = 16
    multipart_seconds_max: Annotated[int, Meta(ge=60, le=10**9)] = 7 * 86_400


class Speed(_Table, frozen=True):
    """What is done to be fast; it changes no answer."""

    fast_lane: bool = True
    remembered_bytes_max: Bytes = 64 * 2**20


class Audit(_Table, frozen=True):
    """One line for each decision."""

    audit_to: Literal["file", "stdout", "journald", "off"] = "file"
    audit_file: str = ""
    audit_lines_max: Count = 100_000
    audit_required: bool = False


class CorsRule(_Table, frozen=True):
    """Which web origins may ask for what. `*` alone or inside a value stands for any characters."""

    origins: tuple[str, ...]
    methods: tuple[Literal["GET", "HEAD", "PUT", "POST", "DELETE"], ...] = ("GET", "HEAD")
    headers: tuple[str, ...] = ("*",)
    expose: tuple[str, ...] = ()
    max_age_seconds: Seconds = 600


class Bucket(_Table, frozen=True):
    """One bucket that differs from the defaults."""

    root: str = ""
    layout: Literal["objects", "files"] = "objects"
    read_only: bool = False
    quota_bytes: Bytes | None = None
    cors: tuple[CorsRule, ...] = ()


class Config(_Table, frozen=True):
    """All settings. `config/full.toml` shows each with its default and what it is for."""

    listen: Listen = Listen()
    limits: Limits = Limits()
    keys: Keys = Keys()
    s3: S3 = S3()
    gcs: Gcs = Gcs()
    cloudfront: CloudFront = CloudFront()
    swift: Swift = Swift()
    replay: Replay = Replay()
    budgets: Budgets = Budgets()
    storage: Storage = Storage()
    speed: Speed = Speed()
    audit: Audit = Audit()
    cors: tuple[CorsRule, ...] = ()
    buckets: dict[str, Bucket] = {}

    @property
    def data(self) -> Path:
        """The data directory, absolute."""
        return Path(self.storage.data).expanduser().absolute()

    def cors_rules(self, bucket: str) -> tuple[CorsRule, ...]:
        """The bucket's own rules where it has any, else those for all."""
        own = self.buckets.get(bucket)
        return own.cors if own and own.cors else self.cors

    @property
    def any_cors(self) -> bool:
        """Whether there are rules for any bucket."""
        return bool(self.cors) or any(bucket.cors for bucket in self.buckets.values())


_T = TypeVar("_T", bound=_Table)

_TABLES: Final = {
    name: table
    for name, table in get_type_hints(Config).items()
    if isinstance(table, type) and issubclass(table, _Table)
}
_TABLE_OF: Final = {setting: name for name, table in _TABLES.items() for setting in table.__struct_encode_fields__}


def load(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Read and check all settings; `flags` are by setting name, None where not given.

    Raises ConfigInvalid: one sentence that names the setting, its value and what is allowed.
    """
    raw = _read_file(path) if path else {}
    for setting, text in _from_environment(environment or {}).items():
        _table(raw, _TABLE_OF[setting])[setting] = text
    for setting, value in (flags or {}).items():
        if value is not None:
            _table(raw, _TABLE_OF[setting])[setting] = value
    config = _convert(raw)
    _check(config)
    return config


def _read_file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: is not TOML: {error}") from error


def _table(raw: dict[str, object], name: str) -> dict[str, object]:
    table = raw.setdefault(name, {})
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{name}: {table!r}: must be a table, [{name}]")
    return table


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    known = {ENVIRONMENT_PREFIX + setting.replace("-", "_").upper(): setting for setting in _TABLE_OF}
    given = {name: text for name, text in environment.items() if name.startswith(ENVIRONMENT_PREFIX)}
    for name in sorted(given.keys() - known.keys() - NOT_SETTINGS):
        raise ConfigInvalid(f"{name}: is not a setting; config/full.toml has them all, as {next(iter(known))}")
    return {known[name]: _typed(known[name], text) for name, text in given.items() if name in known}


def _typed(setting: str, text: str) -> object:
    """An environment variable's text as the type its setting has, where it has that form."""
    table = _TABLES[_TABLE_OF[setting]]
    default = {f.encode_name: f.default for f in msgspec.structs.fields(table)}[setting]
    kind = type(default) if isinstance(default, (bool, int, float)) else None
    if setting == "workers":  # the one setting that is a number or a word
        return int(text) if re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) else text
    if kind is bool and text.lower() in {"true", "false", "1", "0"}:
        return text.lower() in {"true", "1"}
    if kind is int and re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        return int(text)
    if kind is float and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII):
        return float(text)
    if kind is None and not isinstance(default, str):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _convert(raw: dict[str, object]) -> Config:
    unknown = sorted(raw.keys() - set(Config.__struct_encode_fields__))
    if unknown:
        raise ConfigInvalid(f"{unknown[0]}: is not a setting; {_allowed_in(Config)}")
    parts: dict[str, object] = {name: _part(name, raw[name], _TABLES[name]) for name in raw.keys() & _TABLES.keys()}
    if "cors" in raw:
        parts["cors"] = _cors("cors", raw["cors"])
    buckets = _table(raw, "buckets")
    # One by one: msgspec does not name the member of a mapping it stumbles over.
    parts["buckets"] = {name: _bucket(f"buckets.{name}", table) for name, table in buckets.items()}
    return Config(**parts)  # type: ignore[arg-type]


def _bucket(where: str, raw: object) -> Bucket:
    if isinstance(raw, dict) and "cors" in raw:
        raw = raw | {"cors": _cors(f"{where}.cors", raw["cors"])}
    return _part(where, raw, Bucket)


def _cors(where: str, raw: object) -> tuple[CorsRule, ...]:
    if not isinstance(raw, list):
        raise ConfigInvalid(f"{where}: must be tables, [[{where}]]")
    return tuple(_part(f"{where}[{index}]", rule, CorsRule) for index, rule in enumerate(raw))


def _part(where: str, raw: object, table: type[_T]) -> _T:
    """One table, or ConfigInvalid with one sentence: the setting, its value, what is allowed."""
    if not isinstance(raw, dict):
        raise ConfigInvalid(f"{where}: {raw!r}: must be a table, [{where}]")
    try:
        return msgspec.convert(raw, table)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
    unknown = re.search(r"unknown field `(.*)`", what)
    if unknown:
        raise ConfigInvalid(f"{where}.{unknown[1]}: is not a setting; {_allowed_in(table)}")
    setting = re.split(r"[.\[`]", path)[0]
    if not setting:
        raise ConfigInvalid(f"{where}: {what.replace('Object missing required field', 'needs the setting')}")
    raise ConfigInvalid(f"{where}.{setting}: {raw[setting]!r}: {_expected(what, table, setting)}")


def _expected(what: str, table: type[_Table], setting: str) -> str:
    if setting == "workers":
        return f"must be auto or a whole number from 1 to {WORKERS_MAX}"
    kind = str({field.encode_name: field.type for field in msgspec.structs.fields(table)}[setting])
    if "Invalid enum" in what:
        return "must be " + " or ".join(re.findall(r"'([^']*)'", kind))
    words = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "text",
        "array": "a list",
        "object": "a table",
    }
    return re.sub(
        r"`(\w+)( [<>]=? \d+)?`",
        lambda found: words.get(found[1], found[1]) + (found[2] or ""),
        what.replace("Expected ", "must be ").replace(", got `float`", ", not a fraction").replace(", got", ", not"),
    )


def _allowed_in(table: type[_Table]) -> str:
    return f"allowed here: {', '.join(table.__struct_encode_fields__)}"


def _check(config: Config) -> None:
    """What types cannot say."""
    listen = config.listen
    for address in listen.listen:
        parse_address("listen.listen", address)
    if listen.metrics != "off":
        parse_address("listen.metrics", listen.metrics, "off, ")
    if bool(listen.tls_cert) != bool(listen.tls_key):
        missing = "tls-key" if listen.tls_cert else "tls-cert"
        raise ConfigInvalid(f"listen.tls-cert and listen.tls-key: {missing} is missing; give both or neither")
    if listen.public_url and not re.fullmatch(r"https?://[^/?#@\s]+", listen.public_url):
        raise ConfigInvalid(
            f"listen.public-url: {listen.public_url!r}: must be http:// or https:// and a host, without a path"
        )
    for network in listen.trusted_proxies:
        if network != "unix":
            _network("listen.trusted-proxies", network)
    if not re.fullmatch(r"[a-z0-9-]{0,64}", config.s3.region, re.ASCII):
        raise ConfigInvalid(f's3.region: {config.s3.region!r}: must be a region such as us-east-1, or "" for any')
    for host in config.s3.virtual_hosts:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", host, re.ASCII):
            raise ConfigInvalid(f"s3.virtual-hosts: {host!r}: must be a domain in lower case, without a port")
    if config.keys.audience_required and not config.keys.audience:
        raise ConfigInvalid("keys.audience-required: true needs keys.audience, the name keys must give")
    if config.audit.audit_required and config.audit.audit_to == "off":
        raise ConfigInvalid("audit.audit-required: true needs audit.audit-to other than off")
    _check_budgets(config.budgets)
    for name, bucket in config.buckets.items():
        try:
            check_bucket(name)
        except Denied as denied:
            raise ConfigInvalid(f"buckets.{name}: {denied.detail}") from None
        if bucket.root and not Path(bucket.root).is_absolute():
            raise ConfigInvalid(f"buckets.{name}.root: {bucket.root!r}: must be an absolute path")


def _check_budgets(budgets: Budgets) -> None:
    for whose, rate, burst in (
        ("address", "address-requests-per-second", "address-burst"),
        ("subject", "subject-requests-per-second", "subject-burst"),
        ("failures", "address-failures-per-second", "address-failures-burst"),
    ):
        said = msgspec.to_builtins(budgets)
        # A burst by default is only there for its rate: no failures at all need one setting, not two.
        if said[burst] and not said[rate] and said[burst] != msgspec.to_builtins(Budgets())[burst]:
            raise ConfigInvalid(f"budgets.{burst}: {said[burst]}: needs budgets.{rate}")
        try:
            getattr(budgets, whose)
        except ValueError:
            raise ConfigInvalid(f"budgets.{rate}: {said[rate]}: must be 0, or {RATE_MIN:f} to {RATE_MAX:.0f}") from None


def _budget(rate: float, burst: int, transfers: int) -> Budget | None:
    """Three settings as a budget. Raises ValueError for a rate that is none."""
    if not rate and not transfers:
        return None
    return Budget(rate or None, (burst or None) if rate else None, transfers or None)


def _network(setting: str, text: str) -> None:
    try:
        ip_network(text)
    except ValueError:
        raise ConfigInvalid(
            f"{setting}: {text!r}: must be a network (10.0.0.0/8, ::1/128), an address, or unix"
        ) from None


def parse_address(setting: str, text: str, also: str = "") -> tuple[str, int] | Path:
    """`HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; raises ConfigInvalid."""
    if text.startswith("unix:") and len(text) > 5:
        return Path(text[5:])
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]+)):([0-9]{1,5})", text, re.ASCII)
    if not found or int(found[3]) > 65535:
        raise ConfigInvalid(f"{setting}: {text!r}: must be {also}HOST:PORT, [IPV6]:PORT or unix:PATH")
    return found[1] or found[2], int(found[3])
