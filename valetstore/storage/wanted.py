"""Wanted: which names a page of a list is asked for, and where they begin.

Rule 1: text is compared by code points, which is the order of its UTF-8 bytes (RFC 3629, section 1).
Rule 2: a group that the page before has shown stands for all its names.
"""

import re
from typing import Final

# No name has these, so what follows them need not be found quickly.
_NOT_NAMED: Final = re.compile(r"[\0\ud800-\udfff]")
_LAST_CHARACTER: Final = "\U0010ffff"


class Wanted:
    """Names with a prefix, after a name or a group; `lower` is the least text that one of them can be."""

    def __init__(self, prefix: str, after: str, delimiter: str = "") -> None:
        self._prefix = prefix
        self._after = after
        self._delimiter = delimiter
        self._shown = after if self.group(after) == after else None
        text = (behind(self._shown) if self._shown else None) or after
        self.lower = max(prefix, _NOT_NAMED.split(text, 1)[0])

    def row(self, name: str) -> bool:
        """Whether this name is wanted."""
        return name > self._after and name.startswith(self._prefix) and not self._is_shown(name)

    def below(self, start: str) -> bool:
        """Whether a name that starts with this can be wanted."""
        if not (start.startswith(self._prefix) or self._prefix.startswith(start)) or self._is_shown(start):
            return False
        return start >= self._after or self._after.startswith(start)

    def is_beyond(self, least: str) -> bool:
        """Whether neither this text nor what follows it can be wanted."""
        return least > self._prefix and not least.startswith(self._prefix)

    def group(self, start: str) -> str | None:
        """The group of every name that starts with this; None where they are of many, or of none."""
        if not self._delimiter:
            return None
        found = start.find(self._delimiter, len(self._prefix))
        return start[: found + len(self._delimiter)] if found >= 0 else None

    def within(self, start: str) -> "Wanted":
        """Those of one group that start with this, name by name."""
        return Wanted(start, self._after)

    def _is_shown(self, start: str) -> bool:
        return self._shown is not None and start.startswith(self._shown)


def behind(start: str) -> str | None:
    """The least text that follows all that starts with this; None where nothing does."""
    kept = start.rstrip(_LAST_CHARACTER)
    return kept[:-1] + chr(ord(kept[-1]) + 1) if kept else None
