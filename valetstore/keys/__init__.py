"""Signing keys: the algorithms (`material`), the ring that verifies (`ring`), its file (`ringfile`)."""
