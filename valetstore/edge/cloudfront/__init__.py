"""What an admitted request with a key of CloudFront does, and how it is answered."""

from valetstore.edge.cloudfront.calls import CloudFrontCalls

__all__ = ["CloudFrontCalls"]
