"""The owner of what must be single: one process that keeps it, and how the others speak to it."""
