"""Wildcards of a policy's resource: `*` stands for any run of characters, `?` for exactly one.

Rule 1: nothing is tried twice. A text is gone through once whatever the pattern, since both come from outside.
Rule 2: a pattern is cut where its wildcards are before anything in it is decoded: `%2A` is a star and no wildcard.

Source: Amazon CloudFront Developer Guide, "Use wildcard characters in a policy statement".
"""

from typing import Final

from valetstore.encoding import percent_decode

Runs = tuple[str, ...]
"""What stands between the stars of a pattern, in order; ANY_ONE is in it for `?`."""

ANY_ONE: Final = "\ud800"
"""Half a surrogate pair: no text that was decoded strictly has one."""


def runs_of(pattern: str) -> Runs:
    """A pattern taken apart."""
    return tuple(pattern.replace("?", ANY_ONE).split("*"))


def decoded(runs: Runs) -> Runs:
    """The same pattern for percent-decoded text. Raises ValueError where an escape is cut by a wildcard, or is none."""
    return tuple(ANY_ONE.join(percent_decode(part.encode("utf-8")) for part in run.split(ANY_ONE)) for run in runs)


def matches(runs: Runs, text: str) -> bool:
    """Whether a pattern fits the whole text. Time is linear: each run is looked for once, from where the last ended."""
    first, last = runs[0], runs[-1]
    if len(runs) == 1:
        return len(first) == len(text) and _stands(first, text, 0)
    at, end = len(first), len(text) - len(last)
    if at > end or not _stands(first, text, 0) or not _stands(last, text, end):
        return False
    for run in runs[1:-1]:
        # The leftmost place is as good as any: the star before it takes what it must, and what follows has most room.
        found = _find(run, text, at, end)
        if found < 0:
            return False
        at = found + len(run)
    return True


def _stands(run: str, text: str, at: int) -> bool:
    if ANY_ONE not in run:
        return text.startswith(run, at)
    return all(mine in (ANY_ONE, theirs) for mine, theirs in zip(run, text[at : at + len(run)], strict=True))


def _find(run: str, text: str, at: int, end: int) -> int:
    """Where a run stands first between two places, -1 where it does not."""
    return text.find(run, at, end) if ANY_ONE not in run else _find_with_gaps(run, text, at, end)


def _find_with_gaps(run: str, text: str, at: int, end: int) -> int:
    """The same for a run with ANY_ONE in it, by Shift-And (Baeza-Yates and Gonnet, 1992): bit i of `state` says that
    its first i + 1 characters end here.
    """
    anything = sum(1 << place for place, character in enumerate(run) if character == ANY_ONE)
    fitting: dict[str, int] = {}
    for place, character in enumerate(run):
        if character != ANY_ONE:
            fitting[character] = fitting.get(character, anything) | 1 << place
    goal, state = 1 << len(run) - 1, 0
    for place in range(at, end):
        state = (state << 1 | 1) & fitting.get(text[place], anything)
        if state & goal:
            return place + 1 - len(run)
    return -1
