"""S3's keys: presigned URLs (SigV4 and SigV2), signed requests, POST policies, temporary credentials.

Folders read in this order: `scheme` (what came, and what it allows) -> `address`, `operations` (what is asked) ->
`v4`, `v2`, `form`, `session` (is it proven) -> `body` (what the body has yet to prove).
"""

from valetstore.grants.s3.rules import Rules
from valetstore.grants.s3.scheme import S3
from valetstore.keys.vendor import S3 as NAME

__all__ = ["NAME", "S3", "Rules"]
