"""Keys of Google Cloud Storage: signed URLs (V4, V2), POST policies, resumable sessions."""

from valetstore.grants.gcs.rules import Rules
from valetstore.grants.gcs.scheme import Gcs
from valetstore.keys.vendor import GCS as NAME

__all__ = ["NAME", "Gcs", "Rules"]
