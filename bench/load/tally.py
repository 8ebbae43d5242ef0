"""The tally: what came of all requests of a run, and how long they took, in memory that does not grow with them."""

from collections import Counter
from math import ceil
from typing import Final

from bench.load.heads import refusal_code

_FINE: Final = 100_000
"""Up to 0.1 s a latency is kept to the microsecond, above to the millisecond."""


class Latencies:
    """How often each latency was seen."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._fine = [0] * _FINE
        self._coarse: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        microseconds = int(seconds * 1e6)
        if microseconds < _FINE:
            self._fine[microseconds] += 1
        else:
            self._coarse[microseconds // 1000] += 1
        if seconds > self.longest:
            self.longest = seconds

    def percentile_ms(self, percent: float) -> float:
        """The least latency that so many of a hundred do not exceed (nearest rank), in milliseconds; 0 without any."""
        rank, seen = ceil(self.count * percent / 100), 0
        if not rank:
            return 0.0
        for microseconds, count in enumerate(self._fine):
            seen += count
            if seen >= rank:
                return microseconds / 1000
        for milliseconds in sorted(self._coarse):
            seen += self._coarse[milliseconds]
            if seen >= rank:
                return float(milliseconds)
        return self.longest * 1000


class Tally:
    """What came of the requests so far.

    `answered` were answered whole, whatever the status; `statuses` says with which, `errors` what went wrong without
    one, or with one that was not hoped for. `moved` are bytes of answers' bodies, those of unfinished ones among them;
    `sent` those of uploads that were taken; `cut` requests that still ran at the end.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.moved = 0
        self.sent = 0
        self.cut = 0
        self.first_refusal = ""
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.latencies = Latencies()

    def answer(self, status: int, seconds: float) -> None:
        """A request was answered whole, and as hoped."""
        self.answered += 1
        self.statuses[status] += 1
        self.latencies.add(seconds)

    def refusal(self, status: int, head: bytearray, seconds: float) -> None:
        """A request was answered whole, with something else."""
        self.answer(status, seconds)
        self.error(f"{status} {refusal_code(head)}".rstrip())
        self.first_refusal = self.first_refusal or head[:400].decode("latin-1")

    def error(self, kind: str) -> None:
        """A request failed."""
        self.failed += 1
        self.errors[kind] += 1
