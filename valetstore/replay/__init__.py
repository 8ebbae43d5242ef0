"""Single use: the promise (`promise.py`), and each way to keep it."""
