"""Where clients reach the gateway of a data directory: what is printed for them starts with it."""

from typing import Final

from valetstore.cli.door import reachable
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.errors import ConfigInvalid

_NOBODY_KNOWS: Final = "https://GATEWAY"


def endpoint_of(config: Config) -> str:
    """Its public URL, else where the running one accepts; "" where neither is."""
    if config.listen.public_url:
        return config.listen.public_url.rstrip("/")
    running = holder(config.data)
    urls = [reachable(address) for address in running.addresses if address.startswith("http")] if running else []
    return urls[0] if urls else ""


def likely_endpoint_of(config: Config) -> str:
    """The same, else where it would listen; a word in capitals where no URL can name that."""
    try:
        return default_base_url(config).rstrip("/")
    except ConfigInvalid:
        return _NOBODY_KNOWS


def default_base_url(config: Config) -> str:
    """The public URL, else where the gateway of this data directory listens, else where it would.

    Raises ConfigInvalid where that is only a Unix socket, which no URL can name.
    """
    if config.listen.public_url:
        return config.listen.public_url
    found = holder(config.data)
    scheme = "https" if config.listen.tls_cert else "http"
    addresses = (found.addresses if found else None) or [
        address if address.startswith("unix:") else f"{scheme}://{address}" for address in config.listen.listen
    ]
    url = next((url for url in addresses if url.startswith("http")), None)
    if url is None:
        raise ConfigInvalid(f"--base-url: is needed, or listen.public-url, since {addresses[0]} is in no URL")
    return reachable(url)
