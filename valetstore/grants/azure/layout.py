"""The string to sign of a shared access signature, by its version, and the resource in it.

Rule 1: values are signed decoded, as they came; what is not there is an empty line.
Rule 2: a version newer than any known is laid out as the newest known one.
Rule 3: what was signed means one resource, never a second: a signer's own way of writing a name counts only where it
takes nothing for another's.

Sources: Azure Storage REST reference, "Create a service SAS" (version by version), "Create an account SAS".
"""

import re
import string
from collections.abc import Iterator, Mapping
from typing import Final

from valetstore.grants.azure.address import Address, text_of
from valetstore.grants.azure.claim import SIGNS_RESOURCE, SIGNS_SCOPE, Claim
from valetstore.inbound import Inbound

_RESPONSE: Final = ("rscc", "rscd", "rsce", "rscl", "rsct")

_OBJECT_STORE: Final = {"sv": "2023-11-03", "sp": "", "st": "", "se": "", "sr": "b", "sig": ""}
_OPENDAL: Final = {"sv": "2020-12-06", "sp": "racwd", "se": "", "sr": "b", "sig": ""}
_ESCAPE: Final = re.compile("%([0-9A-Fa-f]{2})", re.ASCII)
# RFC 3986 section 2.3: what no URL has to escape. A slash is none of its escapes either.
_NEVER_ESCAPED: Final = frozenset(string.ascii_letters + string.digits + "-._~/")


def strings_to_sign(claim: Claim, address: Address, inbound: Inbound) -> Iterator[bytes]:
    """What may have been signed, the usual first: a finite list; none where the request has no such resource."""
    if claim.is_account:
        yield account_string(claim, address.account)
        return
    for resource in _resources(claim, address, inbound):
        # A name of two lines could be read as a shorter one and what follows it.
        if "\n" not in resource:
            yield service_string(claim, resource)


def account_string(claim: Claim, account: str, version: str = "") -> bytes:
    """What an account SAS signs; it ends in a line feed. `version` is the one whose layout it has, if not `sv`."""
    names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"]
    if (version or claim.get("sv")) >= SIGNS_SCOPE:
        names.append("ses")
    return "".join(f"{line}\n" for line in (account, *map(claim.get, names))).encode()


def service_string(claim: Claim, resource: str, version: str = "") -> bytes:
    """What a service SAS signs for a canonical resource (`/blob/account/container/blob`); `version` as above."""
    version = version or claim.get("sv")
    lines = [*map(claim.get, ("sp", "st", "se")), resource, *map(claim.get, ("si", "sip", "spr", "sv"))]
    if version >= SIGNS_RESOURCE:
        lines += [claim.resource, claim.version_of]
    if version >= SIGNS_SCOPE:
        lines.append(claim.get("ses"))
    return "\n".join([*lines, *map(claim.get, _RESPONSE)]).encode()


def directory_of(claim: Claim, blob: str) -> str | None:
    """The directory of a signed depth that a blob, or a list's prefix, lies in; None where it lies in none.

    It ends in a slash; "" is the container's own. A directory has a name: one without could be read as its parent.
    """
    segments = blob.split("/")
    if len(segments) <= claim.depth or not all(segments[: claim.depth]):
        return None
    return "".join(f"{segment}/" for segment in segments[: claim.depth])


def _resources(claim: Claim, address: Address, inbound: Inbound) -> Iterator[str]:
    container = f"/blob/{address.account}/{address.container}"
    if not address.container:
        return
    if claim.resource == "c":
        yield container
    elif claim.resource == "d":
        directory = directory_of(claim, address.blob or text_of(inbound, "prefix"))
        if directory is not None:
            # Signers differ in the slash at its end.
            yield f"{container}/{directory}".removesuffix("/")
            yield f"{container}/{directory}"
    elif address.blob:
        yield from _names(claim, address, inbound)


def _names(claim: Claim, address: Address, inbound: Inbound) -> Iterator[str]:
    """A blob's name, as it is; for two signers, who can be told by the parameters that they write, in their way too.

    object_store signs the name as it is in the URL. That is another blob's name, of one with `%20` in it where this one
    has a space: signed by it, that one does not open. opendal signs the account twice. That is a name in the container
    that is called as the account is: signed by it, a name there opens so alone.
    """
    account, container, blob = address
    plain = f"/blob/{account}/{container}/{blob}"
    if _is_by(claim, _OBJECT_STORE):
        if not _is_encoded(blob):
            yield plain
        raw = inbound.raw_path.decode("latin-1")
        if raw.isascii() and _is_encoded(raw):
            yield f"/blob/{account}/{container}/{raw.split('/', 3)[3]}"
    elif _is_by(claim, _OPENDAL):
        if container != account:
            yield plain
        yield f"/blob/{account}/{account}/{container}/{blob}"
    else:
        yield plain


def _is_by(claim: Claim, signer: Mapping[str, str]) -> bool:
    """Whether all that a SAS says is what this signer always says ("": of any value)."""
    return claim.values.keys() == signer.keys() and all(
        claim.get(name) == value for name, value in signer.items() if value
    )


def _is_encoded(text: str) -> bool:
    """Whether this can be how object_store writes a name in a URL: only what has to be, and in capitals.

    Of any other spelling it would be a name that others sign as it is: `a%62` is not its `ab`.
    """
    escapes = _ESCAPE.findall(text)
    return bool(escapes) and all(
        escape == escape.upper() and chr(int(escape, 16)) not in _NEVER_ESCAPED for escape in escapes
    )
