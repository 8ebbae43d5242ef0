"""What a start makes of volumes that cannot be used: it ends, or it is told and goes on with reading."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from valetstore.errors import ConfigInvalid
from valetstore.storage.state import is_not_now, not_now

_log: Final = logging.getLogger("valetstore.storage")


@contextmanager
def using_folders() -> Iterator[None]:
    """A folder that cannot be used is a setting that is wrong. Raises ConfigInvalid."""
    try:
        yield
    except OSError as error:
        raise ConfigInvalid(f"a bucket's folder cannot be used: {error.filename}: {error.strerror}") from error


@contextmanager
def going_on(path: str) -> Iterator[None]:
    """A volume that is full or read-only now is told, and not more."""
    try:
        yield
    except OSError as error:
        if not is_not_now(error):
            raise
        warn(not_now(path, error))


def warn(said: str) -> None:
    """Tell it, where there is something to tell."""
    if said:
        _log.warning("%s", said)
