"""S3's operations, as its clients know them: what an admitted request does, and how it is answered.

`calls` has the table of operations; each other file is one group of them. `voice` is how refusals are put.
"""

from valetstore.edge.s3.calls import S3Calls

__all__ = ["S3Calls"]
