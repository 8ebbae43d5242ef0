"""Bytes to a verified Grant: one file a dialect, each with `recognises`, `verify` and `sign`, in that order."""
