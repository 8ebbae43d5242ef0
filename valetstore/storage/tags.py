"""Entity tags of one body: its MD5, as S3 gives it, or a random one that no other state has."""

import re
import secrets
from collections.abc import Mapping
from typing import Final

from valetstore.storage.promise import MD5

RANDOM_BYTES: Final = 16
_RANDOM: Final = re.compile(r'"([0-9a-f]{32})-v"', re.ASCII)


def md5_tag(digests: Mapping[str, bytes]) -> str:
    """The MD5 as an entity tag, as S3 gives it to what came in one piece."""
    return f'"{digests[MD5].hex()}"'


def new_tag() -> str:
    """A tag of its own."""
    return random_tag(secrets.token_bytes(RANDOM_BYTES))


def random_tag(drawn: bytes) -> str:
    """The tag of these random bytes. The hyphen tells clients that take a bare 32-digit tag for an MD5 that this is
    none.
    """
    return f'"{drawn.hex()}-v"'


def drawn_for(tag: str) -> bytes | None:
    """The random bytes of a tag; None where it is of another kind."""
    found = _RANDOM.fullmatch(tag)
    return None if found is None else bytes.fromhex(found[1])
