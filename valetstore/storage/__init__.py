"""Bytes at rest: the promise (`promise.py`), and the disk that keeps it."""
