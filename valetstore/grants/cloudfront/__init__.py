"""Keys of CloudFront: signed URLs and signed cookies, by canned and custom policies."""

from valetstore.grants.cloudfront.rules import Rules
from valetstore.grants.cloudfront.scheme import CloudFront
from valetstore.keys.vendor import CLOUDFRONT as NAME

__all__ = ["NAME", "CloudFront", "Rules"]
