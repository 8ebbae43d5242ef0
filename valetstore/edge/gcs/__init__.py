"""What an admitted request with a key of Google Cloud Storage does, and how it is answered."""

from valetstore.edge.gcs.calls import GcsCalls

__all__ = ["GcsCalls"]
