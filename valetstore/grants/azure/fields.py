"""The fields of a shared access signature that have a form of their own: dates, addresses, the signature.

Rule: what is not exactly the form is refused, in Azure's words; nothing is guessed.

Sources: Azure Storage REST reference, "Format date-time values", "Create a service SAS" (`sip`).
"""

import base64
import re
from datetime import datetime
from ipaddress import ip_address, summarize_address_range
from typing import Final

from valetstore.errors import Denied
from valetstore.grants.grant import Network
from valetstore.grants.networks import parse_networks, plain_address

_SIGNATURE_BYTES: Final = 32
_DATE: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,7}))?)?Z)?", re.ASCII
)
_ADDRESSES: Final = re.compile(r"([0-9A-Fa-f:.]{2,45})(?:-([0-9A-Fa-f:.]{2,45}))?", re.ASCII)


def malformed(said: str) -> Denied:
    """AuthenticationFailed: Azure says no more than its first sentence."""
    return Denied("key_malformed", said).saying(
        "AuthenticationFailed", AuthenticationErrorDetail=f"Signature fields not well formed. {said}"
    )


def moment_of(text: str) -> float | None:
    """A date as SAS have it, as seconds since the epoch; None where it is none. A day begins at midnight UTC."""
    found = _DATE.fullmatch(text)
    if not found:
        return None
    day, minute, second, fraction = found.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}+00:00")
    except ValueError:
        return None
    return whole.timestamp() + float(f"0.{fraction or 0}")


def networks_of(text: str) -> tuple[Network, ...]:
    """`sip`: an address, or the first and the last of a range. Raises `key_malformed`."""
    found = _ADDRESSES.fullmatch(text)
    if not found:
        raise malformed("sip is an address, or two with a hyphen between them.")
    first, last = found[1], found[2]
    try:
        if last is None:
            return parse_networks(str(ip_address(first)))
        return tuple(summarize_address_range(plain_address(first), plain_address(last)))
    except (ValueError, TypeError):
        raise malformed(
            "sip is an address, or a range of one family of addresses that begins with the lower."
        ) from None


def mac_of(text: str) -> bytes:
    """The bytes of a base64 signature, in the one text that they have."""
    try:
        mac = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        mac = b""
    if len(mac) != _SIGNATURE_BYTES or base64.b64encode(mac).decode() != text:
        raise malformed("sig is base64 of 32 bytes, percent-encoded once.")
    return mac
