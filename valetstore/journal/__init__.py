"""Logs that outlast a crash and a power cut: what was acknowledged is there, and what cannot be there is found out.

`log.py` is the one that writes, `reading.py` for others; `files.py` and `format.py` are what a log is made of.
"""

from valetstore.journal.files import JournalDamaged
from valetstore.journal.log import Journal, Recovered, replace
from valetstore.journal.reading import Contents, read, salvaged

__all__ = ["Contents", "Journal", "JournalDamaged", "Recovered", "read", "replace", "salvaged"]
