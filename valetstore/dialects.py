"""The dialects of keys that this gateway understands, as its settings say: the same for all who judge a key."""

from typing import NamedTuple

from valetstore.config import Config
from valetstore.grants import azure, cloudfront, gcs, s3, swift
from valetstore.grants.native import Audience, Native
from valetstore.grants.scheme import Scheme


class Rules(NamedTuple):
    """What the settings say about each vendor's dialect."""

    s3: s3.Rules
    gcs: gcs.Rules
    azure: azure.Rules
    cloudfront: cloudfront.Rules
    swift: swift.Rules


def schemes_of(config: Config) -> tuple[Scheme, ...]:
    """One scheme for each dialect."""
    audience, rules = Audience(config.keys.audience, config.keys.audience_required), rules_of(config)
    return (
        Native(config.keys.clock_skew_seconds, audience),
        s3.S3(rules.s3),
        gcs.Gcs(rules.gcs),
        azure.Azure(rules.azure),
        cloudfront.CloudFront(rules.cloudfront),
        swift.Swift(rules.swift),
    )


def rules_of(config: Config) -> Rules:
    """Each dialect's rules from the settings."""
    public_url = config.listen.public_url.rstrip("/")
    public_host, hosts = public_url.partition("://")[2], config.s3.virtual_hosts
    return Rules(
        s3.Rules(config.s3.region, config.s3.sigv2, hosts, public_host),
        gcs.Rules(config.gcs.gcs_v2, config.gcs.resumable_seconds, hosts, public_host),
        azure.Rules(public_host),
        cloudfront.Rules(config.cloudfront.cloudfront_sha1, public_url),
        swift.Rules(config.swift.tempurl_sha1),
    )
