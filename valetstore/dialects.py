"""The dialects of keys that this gateway understands, as its settings say: the same for all who judge a key."""

from valetstore.config import Config
from valetstore.grants.native import Audience, Native
from valetstore.grants.s3 import S3, Rules
from valetstore.grants.scheme import Scheme


def schemes_of(config: Config) -> tuple[Scheme, ...]:
    """One scheme for each dialect."""
    audience = Audience(config.keys.audience, config.keys.audience_required)
    return Native(config.keys.clock_skew_seconds, audience), S3(rules_of(config))


def rules_of(config: Config) -> Rules:
    """S3's rules from the settings."""
    settings = config.s3
    public_host = config.listen.public_url.partition("://")[2].rstrip("/")
    return Rules(settings.region, settings.sigv2, settings.virtual_hosts, public_host)
