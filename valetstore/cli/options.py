"""Options and values that several commands take."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from valetstore.config import Config, load
from valetstore.errors import ConfigInvalid
from valetstore.units import parse_duration, parse_size

ENVIRONMENT_CONFIG: Final = "VALETSTORE_CONFIG"

SECONDS_MAX: Final = 100 * 365 * 86400
"""A hundred years: what is longer is a mistake, and dates end."""


class Refused(Exception):  # noqa: N818 - reads as what happened
    """What was asked for is well said and cannot be done: one sentence that names the thing; exit status 1."""


class Settings:
    """Where the settings come from; read as often as they are needed (a reload reads them again)."""

    def __init__(self, path: Path | None, data: str | None) -> None:
        self._path = path
        self._flags: dict[str, object] = {"data": data}

    def load(self, **flags: object) -> Config:
        """The settings: file, environment, flags (by setting name, hyphens as underscores)."""
        named = {name.replace("_", "-"): value for name, value in flags.items()}
        return load(self._path, os.environ, self._flags | named)


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--config` and `--data`, given to the command as `settings`."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar=ENVIRONMENT_CONFIG,
        show_envvar=True,
        help="Settings file (TOML).",
    )
    @click.option("--data", metavar="DIR", help="Data directory; default ./valet-data, or as in the settings.")
    @functools.wraps(function)
    def wrapper(*args: Any, config: Path | None, data: str | None, **kwargs: Any) -> Any:
        return function(*args, settings=Settings(config, data), **kwargs)

    return wrapper


def check_served(config: Config) -> None:
    """Raise ConfigInvalid where the data directory was never served, and so has no folder for buckets yet."""
    try:
        (config.data / "objects").stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigInvalid(f"{config.data}: is not set up yet; `valetstore serve` does that") from None
    except OSError as error:
        raise ConfigInvalid(f"{config.data}: cannot be read: {error.strerror}") from error


def check_user(config: Config, command: str) -> None:
    """Raise ConfigInvalid for root in another's data directory: what it writes there would shut the gateway out."""
    owner = config.data.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise ConfigInvalid(
            f"{config.data}: belongs to user id {owner}; run {command} as that user, not as root, "
            "whose files and folders it could not write"
        )


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def plain(text: str) -> str:
    """Text that others wrote, safe for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


class Duration(click.ParamType[Any]):
    """`15m`, `1h30m`, `90`: seconds."""

    name = "duration"

    def __init__(self, minimum: int = 0, maximum: int = SECONDS_MAX) -> None:
        self._minimum = minimum
        self._maximum = maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds, or a usage error that says what is allowed."""
        try:
            seconds = value if isinstance(value, int) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds < self._minimum:
            self.fail(f"{value!r}: must be {self._minimum} second or more", param, ctx)
        if seconds > self._maximum:
            self.fail(f"{value!r}: must be {self._maximum // 86400}d or less", param, ctx)
        return seconds


class Size(click.ParamType[Any]):
    """`10MiB`, `500kB`, `1000`: bytes."""

    name = "size"

    def __init__(self, minimum: int = 0) -> None:
        self._minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes, or a usage error that says what is allowed."""
        try:
            size = value if isinstance(value, int) else parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if size < self._minimum:
            self.fail(f"{value!r}: must be {self._minimum} byte or more", param, ctx)
        return size


class SizeRange(click.ParamType[Any]):
    """`MIN-MAX` in bytes or units; `-MAX` and `MAX` start at 0."""

    name = "min-max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(min, max) in bytes, or a usage error."""
        if isinstance(value, tuple):
            return value
        low, _, high = value.rpartition("-")
        try:
            pair = parse_size(low or "0"), parse_size(high)
        except ValueError:
            self.fail(f"{value!r}: must be MIN-MAX in bytes or units, as 1-10MiB", param, ctx)
        if pair[0] > pair[1]:
            self.fail(f"{value!r}: the minimum is larger than the maximum", param, ctx)
        return pair


def comma_list(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Callback for options that may be repeated, or hold commas."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def read_file(option: str, path: Path) -> bytes:
    """A file the user named with an option; raises ConfigInvalid."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"{option} {path}: cannot be read: {error.strerror}") from error


def new_file(option: str, text: str) -> Path:
    """A file the user wants to have made: it must not exist, its folder must. Raises ConfigInvalid."""
    path = Path(text)
    if not text or text.endswith("/"):
        raise ConfigInvalid(f"{option} {text!r}: must be the name of a file")
    if os.path.lexists(path):
        raise ConfigInvalid(f"{option} {text!r}: exists; choose another file")
    if not path.parent.is_dir():
        raise ConfigInvalid(f"{option} {text!r}: {path.parent} is no folder; make it first")
    return path
