"""The heads of Swift's requests and replies: metadata, digests, conditions, what is refused as it is not done here.

Rule 1: a header that would change what is stored is honoured or refused, never passed over.
Rule 2: of an uploader's metadata only what is called public goes out again: a TempURL is given to strangers.
Rule 3: our entity tags have their quotes, as HTTP asks; Swift's clients take them off. Bare ones are taken as well.
"""

import re
from typing import Final

import msgspec

from valetstore.conditions import Conditions
from valetstore.edge.replies import Header
from valetstore.edge.served import download_headers, kept_of, user_of
from valetstore.edge.swift.voice import WORDS
from valetstore.encoding import UNSAFE_IN_HEADER, content_disposition, http_date
from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.grants.swift import tempurl
from valetstore.inbound import Inbound
from valetstore.storage.metadata import guess_type
from valetstore.storage.promise import MD5, Metadata, ObjectInfo

META_PREFIX: Final = "X-Object-Meta-"
PUBLIC: Final = "public-"

# A pointer to other data would be read with this key's right where it was written with it.
_POINTERS: Final = ("x-object-manifest", "x-symlink-target", "x-copy-from")
_UNSERVED: Final = ("x-delete-at", "x-delete-after", "x-detect-content-type", "x-static-large-object")
_MD5: Final = re.compile(r'"?([0-9a-fA-F]{32})"?', re.ASCII)


def refuse_unserved(inbound: Inbound) -> None:
    """Raise `parameter_invalid` or `not_implemented` for what would change the object and is not done here."""
    for raw_name, _ in inbound.headers:
        name = raw_name.decode("latin-1").lower()
        if name.startswith(_POINTERS):
            said = f"The header '{name.title()}' is not allowed in this tempurl"
            raise Denied("parameter_invalid", said).saying(WORDS, said, 400)
        if name in _UNSERVED:
            said = f"The header '{name.title()}' is not served here"
            raise Denied("not_implemented", said).saying(WORDS, said, 501)
    if inbound.header("content-range") is not None:
        # RFC 9110 section 14.4: what would replace the whole by a part is refused. `curl -C` sends it.
        said = "A part of an object cannot be uploaded: leave Content-Range out"
        raise Denied("parameter_invalid", said).saying(WORDS, said, 400)


def metadata_of(inbound: Inbound, name: str) -> Metadata:
    """What an upload's head says about its object, entity tag by MD5. Raises `metadata_too_large`."""
    return complete(kept_of(inbound, user_of(inbound, META_PREFIX)), name)


def complete(metadata: Metadata, name: str) -> Metadata:
    """As Swift keeps it: the type by the end of the name where none was given."""
    return msgspec.structs.replace(metadata, content_type=metadata.content_type or guess_type(name), md5_etag=True)


def promised_md5(inbound: Inbound) -> tuple[tuple[str, bytes], ...]:
    """The body's digest as an upload's `Etag` promises it. Raises `digest_mismatch`: no body has what is no MD5."""
    etag = inbound.header("etag")
    if etag is None:
        return ()
    found = _MD5.fullmatch(etag.strip())
    if not found:
        raise Denied("digest_mismatch", "Etag is not the MD5 of any body.", digest=MD5)
    return ((MD5, bytes.fromhex(found[1])),)


def conditions_of(inbound: Inbound) -> Conditions:
    """A request's conditions; Swift takes entity tags without their quotes."""
    return Conditions.of(inbound, bare_tags=True)


def object_headers(info: ObjectInfo, grant: Grant, inbound: Inbound, name: str) -> list[Header]:
    """The head of a GET or HEAD but for its length: Swift tells how long the URL holds, and what to save it as."""
    user = {key: value for key, value in info.metadata.user.items() if key.startswith(PUBLIC)}
    info = msgspec.structs.replace(info, metadata=msgspec.structs.replace(info.metadata, user=user))
    overrides = [("expires", http_date(int(grant.not_after)))]
    disposition = asked_disposition(inbound)
    if disposition is None and "content-disposition" not in info.metadata.headers:
        disposition = content_disposition("attachment", name.rstrip("/").rpartition("/")[2])
    if disposition is not None:
        overrides.append(("content-disposition", disposition))
    grant = msgspec.structs.replace(grant, response=tuple(overrides))
    return download_headers(info, grant, META_PREFIX)


def asked_disposition(inbound: Inbound) -> str | None:
    """How the query asks for the object to be saved or shown; None where it does not.

    Swift signs neither `filename` nor `inline`: whoever holds the URL may add them. What may run as a page is offered
    for saving whatever they say.
    """
    filename = UNSAFE_IN_HEADER.sub("", tempurl.spaced(inbound, tempurl.FILENAME) or "")
    inline = inbound.parameter(tempurl.INLINE) is not None
    if filename:
        return content_disposition("inline" if inline else "attachment", filename)
    return "inline" if inline else None
