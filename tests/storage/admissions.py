"""Admissions for storage tests. In the product only the gateway makes one, from a verified key."""

from valetstore.grants.grant import Admission, Grant, Intent, Operation
from valetstore.inbound import Inbound
from valetstore.objectkey import ObjectKey


def admitted(operation: Operation, bucket: str, name: str | None = None) -> Admission:
    """A request that was let in for one object, or (without a name) for a bucket's list."""
    key = ObjectKey.of(bucket, name) if name is not None else None
    grant = Grant(
        scheme="test",
        signing_key="test",
        identity=bytes(16),
        operations=frozenset({operation}),
        scopes=(),
        not_after=2**33,
    )
    intent = Intent(operation, key.path if key else f"/{bucket}/", key)
    return Admission(Inbound("GET", b"/", (), now=0), intent, grant, None)
