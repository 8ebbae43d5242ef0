"""Who keeps the revocations now: the gateway that serves the data directory, or, while none does, the log itself.

Rule: a running gateway is asked over its own address, with its own signing key, so that every worker has the change
in force before the command returns. Where none runs, the log is written under the data lock.
"""

import asyncio
import contextlib
import getpass
import http.client
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, Protocol, TypeVar

import msgspec

from valetstore.cli.door import connection, doors, is_loopback
from valetstore.cli.options import Refused, check_user
from valetstore.config import Config
from valetstore.datalock import DataHeld, DataLock, Holder, holder
from valetstore.dialects import schemes_of
from valetstore.encoding import http_date
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.claims import Claims
from valetstore.grants.native import REVOCATIONS_PATH
from valetstore.keys.ring import INTERNAL_NAME, KeyRing
from valetstore.keys.ringfile import RingFile
from valetstore.owner.revocations import RevocationStore
from valetstore.pasted import prove
from valetstore.policy.bounds import grant_end
from valetstore.policy.revocation import Kind, Revocation
from valetstore.policy.wanted import check_wanted
from valetstore.signing import Signer, token_for

_SECONDS: Final = 20
_PATIENCE_SECONDS: Final = 10
_PAGE: Final = 1_000
_TOO_MANY: Final = 429
_PAUSE_SECONDS: Final = 0.05

Result = TypeVar("Result")


class Entry(msgspec.Struct):
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
    revocations: list[Entry]
    next: str | None


class Wanted(msgspec.Struct, omit_defaults=True):
    """What to revoke: one of the first five. `key` is what was pasted, and secret."""

    key: str | None = None
    identity: str | None = None
    signing_key: str | None = None
    subject: str | None = None
    prefix: str | None = None
    issued_before: float | None = None
    reason: str | None = None


class Keeper(Protocol):
    """Who keeps the revocations: the running gateway, or the log itself."""

    def add(self, wanted: Wanted) -> tuple[Entry, bool]:
        """Put it in force; the entry that is in force then, and whether it is new."""

    def entries(self) -> list[Entry]:
        """All of them, oldest first."""

    def undo(self, entry_id: str) -> bool:
        """Take one back; whether there was one."""


def with_keeper(config: Config, act: Callable[[Keeper], Result]) -> Result:
    """Let whoever keeps the revocations now do it. Raises DataHeld where nobody can be asked."""
    ring_file = RingFile(config.data)
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        running = holder(config.data)
        if running is not None and running.addresses:
            return act(_Gateway(running, ring_file))
        check_user(config, "revoke")
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

    def add(self, wanted: Wanted) -> tuple[Entry, bool]:
        """See Keeper."""
        status, text = self._ask("POST", "", msgspec.json.encode(wanted))
        if status not in (200, 201):
            self._refused(status, text)
        return _decoded(text, Entry), status == 201

    def entries(self) -> list[Entry]:
        """See Keeper."""
        found: list[Entry] = []
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
        """See Keeper."""
        if not entry_id.isalnum() or not entry_id.isascii():
            return False
        status, text = self._ask("DELETE", entry_id)
        if status not in (204, 404):
            self._refused(status, text)
        return status == 204

    def _ask(self, method: str, below: str, body: bytes | None = None, until: float = 0) -> tuple[int, bytes]:
        """Status and body of the answer at the first address that answers; after `until` it is not tried again."""
        until = until or time.monotonic() + _PATIENCE_SECONDS
        trouble = "it accepts nowhere that this machine can reach without verifying a certificate"
        for url in doors(self._running.addresses):
            asked = connection(url, _SECONDS, verified=not is_loopback(url))
            headers = {"Authorization": f"Bearer {self._token()}"}
            try:
                asked.request(method, f"{REVOCATIONS_PATH}/{below}", body=body, headers=headers)
                answer = asked.getresponse()
                if answer.status == _TOO_MANY and time.monotonic() < until:
                    time.sleep(_PAUSE_SECONDS)  # bad keys that come through this machine's own proxy count here too
                    return self._ask(method, below, body, until)
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                trouble = f"{url}: {error or type(error).__name__}"
            finally:
                asked.close()
        who = f"process {self._running.pid}" if self._running.pid else "another process"
        raise Refused(
            f"the gateway that serves this data directory ({who}) cannot be asked: {trouble}; if it took the word and "
            "did not answer in time, it may hold all the same: see `valetstore revoke --list`"
        )

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

    def add(self, wanted: Wanted) -> tuple[Entry, bool]:
        """See Keeper."""
        entry = self._revocation(wanted)
        check_wanted(entry, time.time())

        async def add(store: RevocationStore) -> tuple[Revocation, bool]:
            return await store.add(entry)

        found, is_new = self._in_store(add)
        return _shown(found), is_new

    def entries(self) -> list[Entry]:
        """See Keeper."""

        async def entries(store: RevocationStore) -> list[Entry]:
            return [_shown(entry) for entry in store.table]

        return self._in_store(entries)

    def undo(self, entry_id: str) -> bool:
        """See Keeper."""

        async def undo(store: RevocationStore) -> bool:
            return await store.undo(entry_id)

        return self._in_store(undo)

    def _revocation(self, wanted: Wanted) -> Revocation:
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
        now = time.time()
        try:
            grant = prove(pasted, schemes_of(self._config), self._ring, now).grant
        except Denied as denied:
            raise ConfigInvalid(f"KEY: {denied.text}") from None
        if grant_end(grant) <= now:
            raise ConfigInvalid(f"KEY: has expired by itself ({http_date(int(grant.not_after))})")
        return grant.identity.hex(), grant_end(grant)

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

        return asyncio.run(run())


def _decoded(text: bytes, kind: type[Result]) -> Result:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise Refused(f"what answers is not this gateway: {error}") from None


def _shown(entry: Revocation) -> Entry:
    return msgspec.convert(msgspec.structs.asdict(entry), Entry)


def _user() -> str:
    """Whoever runs the command."""
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return f"user {os.getuid()}"
