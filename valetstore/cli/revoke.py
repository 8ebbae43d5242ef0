"""`valetstore revoke`: refuse keys from now on, list what is refused, take it back.

Rule 1: where a gateway serves the data directory it is asked over its own address, so that every worker has the
change in force before the command returns. Where none does, the log is written here, under the data lock.
Rule 2: a key that was pasted is not shown again.
"""

import asyncio
import contextlib
import getpass
import http.client
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol, TypeVar

import click
import msgspec

from valetstore.cli.door import connection, doors, is_loopback
from valetstore.cli.options import Refused, Settings, check_served, json_option, print_json, settings_options
from valetstore.config import Config
from valetstore.datalock import DataHeld, DataLock, Holder, holder
from valetstore.encoding import http_date
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.native import REVOCATIONS_PATH, Audience, Claims, Native
from valetstore.keys.owner import hand_over
from valetstore.keys.ring import INTERNAL_NAME, KeyRing
from valetstore.keys.ringfile import RingFile
from valetstore.owner.revocations import RevocationStore
from valetstore.pasted import prove
from valetstore.policy.revocation import Kind, Revocation, check_wanted, key_end, moment_of
from valetstore.signing import Signer, token_for

EXIT_HELD: Final = 3

_SECONDS: Final = 30
_PATIENCE_SECONDS: Final = 10
_PAGE: Final = 1_000
_STDIN_BYTES_MAX: Final = 65_536
_IDENTITY: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_EPOCH: Final = re.compile(r"[0-9]{9,11}(?:\.[0-9]{1,6})?", re.ASCII)

Result = TypeVar("Result")


class _Entry(msgspec.Struct):
    """An entry as the gateway shows it."""

    id: str
    kind: Kind
    value: str
    issued_before: float | None
    expires_at: float | None
    created_at: float
    reason: str
    by: str


class _Page(msgspec.Struct):
    revocations: list[_Entry]
    next: str | None


class _Wanted(msgspec.Struct, omit_defaults=True):
    """What to revoke: one of the first five. `key` is what was pasted, and secret."""

    key: str | None = None
    identity: str | None = None
    signing_key: str | None = None
    subject: str | None = None
    prefix: str | None = None
    issued_before: float | None = None
    reason: str | None = None


class _Keeper(Protocol):
    """Who keeps the revocations: the running gateway, or the log itself."""

    def add(self, wanted: _Wanted) -> tuple[_Entry, bool]: ...

    def entries(self) -> list[_Entry]: ...

    def undo(self, entry_id: str) -> bool: ...


@click.command("revoke", short_help="Refuse keys from now on; list, undo.")
@click.argument("key", required=False)
@settings_options
@json_option
@click.option("--signing-key", metavar="NAME", help="Every key that this signing key has signed or will sign.")
@click.option("--subject", metavar="WHO", help="Every key for this subject (`sub`).")
@click.option("--prefix", metavar="/BUCKET/FOLDER/", help="Every request for an object below.")
@click.option("--issued-before", metavar="WHEN", help="Only keys issued before: `now`, a date, or epoch seconds.")
@click.option("--reason", metavar="TEXT", help="Why; kept with the entry, and told to no client.")
@click.option("--list", "list_", is_flag=True, help="Show what is revoked, the newest last.")
@click.option("--undo", metavar="ID", help="Take the entry of this id back.")
def command(settings: Settings, as_json: bool, **options: Any) -> int:
    """Refuse a key, or many, from now on.

    KEY is what was handed out: the URL, the token, an Authorization line; or the 32 digits by which the audit and
    `inspect` name it. `-` reads it from stdin: other users of this machine see what stands on a command line.

    A key without an issue time counts as issued before any WHEN. It holds in every worker of a running gateway, and
    outlasts restarts, when the command returns; one key's entry goes when that key would have ended.
    """
    action = _action(options)
    config = settings.load()
    check_served(config)
    try:
        return _with_keeper(config, lambda keeper: _act(keeper, action, options, as_json))
    except DataHeld as held:
        click.echo(f"valetstore: {held}", err=True)
        return EXIT_HELD


def _action(options: Mapping[str, Any]) -> str:
    """What is asked for; a usage error unless it is exactly one thing."""
    adding = [name for name in ("key", "signing_key", "subject", "prefix") if options[name] is not None]
    given = [*adding, *(name for name in ("list_", "undo") if options[name])]
    if len(given) != 1:
        raise click.UsageError("Give exactly one of KEY, --signing-key, --subject, --prefix, --list and --undo.")
    if not adding and (options["issued_before"] is not None or options["reason"] is not None):
        raise click.UsageError("--issued-before and --reason say more about a revocation: give one.")
    return "add" if adding else given[0].removesuffix("_")


def _act(keeper: _Keeper, action: str, options: Mapping[str, Any], as_json: bool) -> int:
    if action == "list":
        _show_all(keeper.entries(), as_json)
    elif action == "undo":
        _undo(keeper, options["undo"], as_json)
    else:
        entry, is_new = keeper.add(_wanted(options))
        if as_json:
            print_json(msgspec.to_builtins(entry))
        else:
            _tell(entry, is_new)
    return 0


def _wanted(options: Mapping[str, Any]) -> _Wanted:
    key = sys.stdin.read(_STDIN_BYTES_MAX).strip() if options["key"] == "-" else options["key"]
    is_identity = key is not None and _IDENTITY.fullmatch(key) is not None
    return _Wanted(
        key=None if is_identity else key,
        identity=key.lower() if is_identity else None,
        signing_key=options["signing_key"],
        subject=options["subject"],
        prefix=options["prefix"],
        issued_before=None if options["issued_before"] is None else _moment(options["issued_before"]),
        reason=options["reason"],
    )


def _moment(text: str) -> float:
    if text == "now":
        return time.time()
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        return moment_of(text)
    except ValueError:
        raise ConfigInvalid(
            f"--issued-before {text!r}: must be `now`, a date with a zone (2026-11-21T16:00:00Z) or epoch seconds"
        ) from None


def _undo(keeper: _Keeper, entry_id: str, as_json: bool) -> None:
    if not keeper.undo(entry_id):
        raise ConfigInvalid(f"--undo {entry_id!r}: there is no such revocation; `valetstore revoke --list` shows them")
    if as_json:
        print_json({"id": entry_id, "undone": True})
    else:
        click.echo(f"Revocation {entry_id} is undone.")


def _tell(entry: _Entry, is_new: bool) -> None:
    click.echo(f"{'Revoked' if is_new else 'Revoked already'}: {_named(entry)}.")
    if entry.expires_at is not None:
        kept = f"until {http_date(int(entry.expires_at))}, when the key has ended by itself"
    else:
        kept = "until it is undone, or nothing it names can be valid any longer"
    click.echo(f"Kept {kept}. To take it back: valetstore revoke --undo {entry.id}")


def _named(entry: _Entry) -> str:
    """What an entry refuses, in words."""
    value = _plain(entry.value)
    what = {
        "key": f"key {value}",
        "signing-key": f"keys of the signing key {value}",
        "subject": f"keys for the subject {value}",
        "prefix": f"keys for what lies below {value}",
    }[entry.kind]
    if entry.issued_before is None:
        return what
    return f"{what}, issued before {http_date(int(entry.issued_before))}"


def _show_all(entries: list[_Entry], as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(entries))
        return
    for entry in entries:
        until = f", until {http_date(int(entry.expires_at))}" if entry.expires_at is not None else ""
        reason = f": {_plain(entry.reason)}" if entry.reason else ""
        click.echo(
            f"{entry.id}  {http_date(int(entry.created_at))}  {_named(entry)}{until} [{_plain(entry.by)}]{reason}"
        )
    if not entries:
        click.echo("Nothing is revoked.", err=True)


def _plain(text: str) -> str:
    """Text that others wrote, safe for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _with_keeper(config: Config, act: Callable[[_Keeper], Result]) -> Result:
    """Let whoever keeps the revocations now do it. Raises DataHeld where nobody can be asked."""
    ring_file = RingFile(config.data)
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        running = holder(config.data)
        if running is not None and running.addresses:
            return act(_Gateway(running, ring_file))
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(DataLock(config.data))
            except DataHeld:
                # A gateway that is about to accept, or another command: both are over soon.
                if time.monotonic() > until:
                    raise
                continue
            return act(_Log(config, ring_file.load()))


class _Gateway:
    """The gateway that serves the data directory, asked over its own address with its own signing key."""

    def __init__(self, running: Holder, ring_file: RingFile) -> None:
        self._running = running
        self._signer = Signer.from_ring(ring_file, INTERNAL_NAME)

    def add(self, wanted: _Wanted) -> tuple[_Entry, bool]:
        """See _Keeper."""
        status, text = self._ask("POST", "", msgspec.json.encode(wanted))
        if status not in (200, 201):
            self._refused(status, text)
        return _decoded(text, _Entry), status == 201

    def entries(self) -> list[_Entry]:
        """See _Keeper."""
        found: list[_Entry] = []
        after = ""
        while True:
            status, text = self._ask("GET", f"?limit={_PAGE}&after={after}")
            if status != 200:
                self._refused(status, text)
            page = _decoded(text, _Page)
            found += page.revocations
            if page.next is None:
                return found
            after = page.next

    def undo(self, entry_id: str) -> bool:
        """See _Keeper."""
        if not entry_id.isalnum() or not entry_id.isascii():
            return False
        status, text = self._ask("DELETE", entry_id)
        if status not in (204, 404):
            self._refused(status, text)
        return status == 204

    def _ask(self, method: str, below: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of the answer at the first address that answers."""
        trouble = "it accepts nowhere that this machine can reach without verifying a certificate"
        for url in doors(self._running.addresses):
            asked = connection(url, _SECONDS, verified=not is_loopback(url))
            headers = {"Authorization": f"Bearer {self._token()}"}
            try:
                asked.request(method, f"{REVOCATIONS_PATH}/{below}", body=body, headers=headers)
                answer = asked.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                trouble = f"{url}: {error or type(error).__name__}"
            finally:
                asked.close()
        who = f"process {self._running.pid}" if self._running.pid else "another process"
        raise Refused(f"the gateway that serves this data directory ({who}) cannot be asked: {trouble}")

    def _token(self) -> str:
        now = int(time.time())
        claims = Claims(exp=now + 60, iat=now, ops=["admin"], prefix=f"{REVOCATIONS_PATH}/", sub=_user())
        return token_for(self._signer, claims)

    def _refused(self, status: int, text: bytes) -> NoReturn:
        try:
            said = msgspec.json.decode(text, type=_Problem)
        except msgspec.MsgspecError:
            said = _Problem("", f"it answers {status}")
        sentence = said.detail or said.title
        if said.code == "parameter_invalid":
            raise ConfigInvalid(sentence)
        if said.code == "revocation_unavailable":
            sentence += " Its log says why. Stop it, run `valetstore repair`, and start it again."
        raise Refused(f"the gateway refuses: {sentence}")


class _Problem(msgspec.Struct):
    code: str
    title: str
    detail: str = ""


class _Log:
    """The log itself, while no gateway runs."""

    def __init__(self, config: Config, ring: KeyRing) -> None:
        self._config = config
        self._ring = ring

    def add(self, wanted: _Wanted) -> tuple[_Entry, bool]:
        """See _Keeper."""
        entry = self._revocation(wanted)
        check_wanted(entry, time.time())

        async def add(store: RevocationStore) -> tuple[Revocation, bool]:
            return await store.add(entry)

        found, is_new = self._in_store(add)
        return _shown(found), is_new

    def entries(self) -> list[_Entry]:
        """See _Keeper."""

        async def entries(store: RevocationStore) -> list[_Entry]:
            return [_shown(entry) for entry in store.table]

        return self._in_store(entries)

    def undo(self, entry_id: str) -> bool:
        """See _Keeper."""

        async def undo(store: RevocationStore) -> bool:
            return await store.undo(entry_id)

        return self._in_store(undo)

    def _revocation(self, wanted: _Wanted) -> Revocation:
        kind: Kind
        expires_at = None
        if wanted.key is not None:
            kind, (value, expires_at) = "key", self._proven(wanted.key)
        elif wanted.identity is not None:
            kind, value = "key", wanted.identity
        elif wanted.signing_key is not None:
            kind, value = "signing-key", wanted.signing_key
            if self._ring.named(value) is None:
                raise ConfigInvalid(
                    f"--signing-key {value!r}: there is none of that name; `valetstore keys list` shows them"
                )
        elif wanted.subject is not None:
            kind, value = "subject", wanted.subject
        else:
            kind, value = "prefix", wanted.prefix or ""
        by = f"{INTERNAL_NAME} ({_user()})"
        return Revocation("", kind, value, wanted.issued_before, expires_at, reason=wanted.reason or "", by=by)

    def _proven(self, pasted: str) -> tuple[str, float]:
        """Identity and end of the key that was pasted."""
        keys = self._config.keys
        native = Native(keys.clock_skew_seconds, Audience(keys.audience, keys.audience_required))
        now = time.time()
        try:
            grant = prove(pasted, [native], self._ring, now).grant
        except Denied as denied:
            raise ConfigInvalid(f"KEY: {denied.text}") from None
        if key_end(grant.not_after) <= now:
            raise ConfigInvalid(f"KEY: has expired by itself ({http_date(int(grant.not_after))})")
        return grant.identity.hex(), key_end(grant.not_after)

    def _in_store(self, work: Callable[[RevocationStore], Awaitable[Result]]) -> Result:
        # Imported late: it takes the whole owner with it, which a running gateway has already.
        from valetstore.owner.owner import logs_are_expected

        folder = self._config.data / "state"
        expected = logs_are_expected(self._config, self._ring)

        async def run() -> Result:
            store = RevocationStore(folder)
            store.open(expected)
            try:
                if store.trouble:
                    raise Refused(f"{store.trouble}; `valetstore repair` keeps what can be read")
                return await work(store)
            except Denied as denied:
                raise Refused(f"{folder}: {denied.evidence.get('reason') or denied.text}") from None
            finally:
                await store.close()
                _hand_over(folder)

        return asyncio.run(run())


def _hand_over(folder: Path) -> None:
    """Give what root has written here to whoever owns the folder, so that the daemon can read it."""
    if os.geteuid() != 0:
        return
    for path in folder.glob("revocations.*"):
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                hand_over(file, folder)
            finally:
                os.close(file)


def _decoded(text: bytes, kind: type[Result]) -> Result:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise Refused(f"what answers is not this gateway: {error}") from None


def _shown(entry: Revocation) -> _Entry:
    return msgspec.convert(msgspec.structs.asdict(entry), _Entry)


def _user() -> str:
    """Whoever runs the command."""
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return f"user {os.getuid()}"
