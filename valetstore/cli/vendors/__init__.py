"""Signing keys of the vendors' dialects on the command line: one file a vendor, a table of them, the options."""

from collections.abc import Mapping
from typing import Final

from valetstore.cli.vendors import aws, azure, cloudfront, google, openstack
from valetstore.cli.vendors.maker import Maker
from valetstore.keys.vendor import AZURE, CLOUDFRONT, GCS, S3, SWIFT

MAKERS: Final[Mapping[str, Maker]] = {
    S3: aws.MAKER,
    GCS: google.MAKER,
    AZURE: azure.MAKER,
    CLOUDFRONT: cloudfront.MAKER,
    SWIFT: openstack.MAKER,
}
"""By the name that `--scheme` has for them."""
