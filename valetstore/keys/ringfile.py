"""The ring's file: `<data>/keys/ring.json`, mode 0600, changed under a lock and replaced whole.

Rule 1: a reader sees the old ring or the new one, never half of one; a crash leaves one of them.
Rule 2: private halves of asymmetric keys stay outside the ring, each in `<data>/keys/NAME.pem` (0600), which `sign`
reads, whatever the scheme: the daemon needs only the public half and never reads them. A service account's file for
Google's SDKs, `NAME.service-account.json`, is a second copy for its user to take away; nothing here reads it.
Rule 3: what root writes here belongs to whoever owns the data directory, so that the daemon can read it.
Rule 4: a retirement may only come earlier. Nothing un-retires: what was refused once stays refused.
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from valetstore.encoding import b64url_encode, http_date
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.material import ALGORITHMS, PrivateKey, load_private, public_pem
from valetstore.keys.private import make_folder, open_lock, write_private
from valetstore.keys.ring import INTERNAL_NAME, KeyRecord, KeyRing, check_not_reserved

FORMAT: Final = 1

_OWN_PROFILE: Final = Profile(
    operations=("read", "admin"), prefixes=("/_valet/echo/", "/_valet/revocations/"), ttl_seconds_max=300
)
"""The gateway's own key opens the probes of `valetstore check` and the way of `valetstore revoke`, nothing else."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds; also how one process hands the ring to another."""

    format: int
    generation: int
    keys: list[KeyRecord]

    def ring(self) -> KeyRing:
        """The ring made ready for verifying. Raises ConfigInvalid."""
        return KeyRing(self.keys, self.generation)


class RingFile:
    """The key ring of one data directory."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "keys"
        self.path = self.folder / "ring.json"

    def load(self) -> KeyRing:
        """The ring as it stands; empty where there is no file yet. Raises ConfigInvalid."""
        return self.read().ring()

    def stamp(self) -> tuple[int, int, int] | None:
        """Something that differs whenever the file was replaced or written; None where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def change(self, step: Callable[[list[KeyRecord]], list[KeyRecord]]) -> KeyRing:
        """Replace the records by `step(records)`; nothing changes where it raises. Returns the new ring."""
        with self._locked():
            old = self.read()
            new = Document(FORMAT, old.generation + 1, step(list(old.keys)))
            ring = KeyRing(new.keys, new.generation)  # raises before anything is written
            text = msgspec.json.format(msgspec.json.encode(new), indent=2) + b"\n"
            write_private(self.path, text)
            return ring

    def add(self, record: KeyRecord, private: str | None = None, further: Mapping[Path, str] | None = None) -> KeyRing:
        """Add one signing key, its private half (PEM) beside the ring, and `further` files that hold it in other forms.

        Raises ConfigInvalid where it exists.
        """
        files = dict(further or {})
        return self.add_all([record], files if private is None else {self.private_path(record.name): private} | files)

    def add_all(self, new: list[KeyRecord], files: Mapping[Path, str] | None = None) -> KeyRing:
        """Add all of these or, where one cannot be, none; `files` are theirs alone to read. Raises ConfigInvalid."""
        for record in new:
            check_not_reserved(record.name)

        def step(records: list[KeyRecord]) -> list[KeyRecord]:
            known = {record.name for record in records}
            for record in new:
                if record.name in known:
                    raise ConfigInvalid(
                        f"signing key {record.name!r} exists; choose another name, then retire this one"
                    )
            KeyRing([*records, *new])  # raises before a name becomes a file's
            for path, text in (files or {}).items():
                write_private(path, text.encode())
            return [*records, *new]

        return self.change(step)

    def retire(self, name: str, at: int) -> KeyRing:
        """Have that signing key end at `at` (seconds since the epoch). Raises ConfigInvalid where it ends sooner."""
        check_not_reserved(name)

        def step(records: list[KeyRecord]) -> list[KeyRecord]:
            known = next((record for record in records if record.name == name), None)
            if known is None:
                raise unknown_name(name)
            _check_earlier(known, at)
            return [msgspec.structs.replace(r, retires_at=at) if r is known else r for r in records]

        return self.change(step)

    def begin(self) -> None:
        """Make sure there is something to sign with: on an empty ring, the signing key `default`.

        The gateway's own key is made here too, and made anew where it is not as it must be.
        """
        records = [key.record for key in self.load()]
        if len(records) > 1 and any(map(_is_own, records)):
            return
        own, _ = new_record(INTERNAL_NAME, "HS256", _OWN_PROFILE)
        first, _ = new_record("default", "HS256", Profile())

        def step(records: list[KeyRecord]) -> list[KeyRecord]:
            others = [record for record in records if record.name != INTERNAL_NAME]
            kept = next((record for record in records if _is_own(record)), own)
            return [*(others or [first]), kept]

        self.change(step)

    def private_path(self, name: str) -> Path:
        """Where the private half of that signing key is kept, if it is kept here."""
        return self.folder / f"{name}.pem"

    def service_account_path(self, name: str) -> Path:
        """Where the file is kept that Google's SDKs load for that signing key, if it is kept here."""
        # Not NAME.json: a signing key may be called `ring`.
        return self.folder / f"{name}.service-account.json"

    def private_half(self, name: str) -> PrivateKey:
        """The private half kept for that signing key; raises ConfigInvalid that says where it was looked for."""
        path = self.private_path(name)
        try:
            return load_private(path.read_text())
        except FileNotFoundError:
            raise ConfigInvalid(
                f"signing key {name!r}: its private half is not kept here ({path}); sign where it is"
            ) from None
        except OSError as error:
            raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigInvalid(f"{path}: is not PEM text") from None

    def read(self) -> Document:
        """What the file holds; no keys where there is none yet. Raises ConfigInvalid."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read()
        except FileNotFoundError:
            return Document(FORMAT, 0, [])
        except OSError as error:
            raise ConfigInvalid(f"{self.path}: cannot be read: {error.strerror}") from error
        if mode & 0o077:
            raise ConfigInvalid(f"{self.path}: others may read it (mode {mode & 0o777:04o}); it must be 0600")
        try:
            document = msgspec.json.decode(data, type=Document)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"{self.path}: is not a key ring: {error}") from error
        if document.format != FORMAT:
            raise ConfigInvalid(f"{self.path}: has format {document.format}; this version reads {FORMAT}")
        return document

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            make_folder(self.folder)
            lock = open_lock(self.folder / "lock")
        except OSError as error:
            raise ConfigInvalid(f"{self.folder}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def unknown_name(name: str) -> ConfigInvalid:
    """The error for a name that no signing key has."""
    return ConfigInvalid(f"signing key {name!r}: there is none of that name; `valetstore keys list` shows them")


def _check_earlier(record: KeyRecord, at: int) -> None:
    if record.retires_at is None:
        return
    if record.retires_at <= time.time():
        since = http_date(record.retires_at)
        raise ConfigInvalid(f"signing key {record.name!r}: is retired since {since}; nothing un-retires it")
    if at > record.retires_at:
        raise ConfigInvalid(
            f"signing key {record.name!r}: retires on {http_date(record.retires_at)}; that may only come earlier, "
            f"not on {http_date(at)}, since nothing un-retires a signing key: create another one"
        )


def _is_own(record: KeyRecord) -> bool:
    """Whether this is the gateway's own key as `begin` makes it: in force, and with a secret to sign with."""
    mine = record.name == INTERNAL_NAME and record.profile == _OWN_PROFILE
    return mine and record.secret is not None and record.retires_at is None


def new_record(
    name: str, algorithm: str, profile: Profile, *, scheme: str = "native"
) -> tuple[KeyRecord, PrivateKey | None]:
    """A signing key with fresh material: its record, and the private half where there is one."""
    if algorithm not in ALGORITHMS:
        raise ConfigInvalid(f"algorithm {algorithm!r}: must be one of {', '.join(ALGORITHMS)}")
    material = ALGORITHMS[algorithm].generate()
    if isinstance(material, bytes):
        return record_of(name, algorithm, profile, secret=material, scheme=scheme), None
    return record_of(name, algorithm, profile, public_key=public_pem(material), scheme=scheme), material


def record_of(
    name: str,
    algorithm: str,
    profile: Profile,
    *,
    kid: str = "",
    secret: bytes | None = None,
    public_key: str | None = None,
    scheme: str = "native",
) -> KeyRecord:
    """A record around given material; `kid` is the name unless given."""
    return KeyRecord(
        id=secrets.token_hex(16),
        name=name,
        kid=kid or name,
        algorithm=algorithm,
        created_at=int(time.time()),
        scheme=scheme,
        secret=b64url_encode(secret).decode() if secret is not None else None,
        public_key=public_key,
        profile=profile,
    )
