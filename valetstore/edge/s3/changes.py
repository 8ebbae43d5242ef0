"""What operations have in common that change a bucket, or many objects at once, by a document."""

from valetstore.edge.s3.checksums import declared
from valetstore.errors import Denied
from valetstore.inbound import Inbound


def require_digest(inbound: Inbound) -> None:
    """A document that removes or replaces comes with its digest, as S3 wants it. Raises `parameter_invalid`."""
    promised = declared(inbound)
    if promised.md5 is None and not promised.algorithm:
        said = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        raise Denied("parameter_invalid", said).saying("InvalidRequest", said)
