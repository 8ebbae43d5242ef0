"""What a grant and its request promised about a body, checked while it arrives and before it is kept."""

import base64
import re
from hmac import compare_digest
from typing import Final

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound

_FIELD_BYTES_MAX: Final = 1024
# RFC 9530 section 5 and RFC 8941 section 3.3.5: sha-256=:base64:, in a dictionary. A member has no comma.
_DIGEST_MEMBER: Final = re.compile(r"([a-z0-9*_.-]+)=:([A-Za-z0-9+/=]*):", re.ASCII)
_PROMISING: Final = frozenset({b"content-md5", b"content-digest"})
_HASHES: Final = {"sha-256": "sha256", "sha-512": "sha512"}


class BodyRules(msgspec.Struct, frozen=True):
    """Length range in bytes (both ends included), and the digests the body must have, by hashlib's names."""

    length_min: int
    length_max: int
    digests: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, admission: Admission, upload_bytes_max: int) -> "BodyRules":
        """From a grant and its request's head. Raises `too_large`, `parameter_invalid`."""
        grant = admission.grant
        limit = upload_bytes_max if grant.length_max is None else min(grant.length_max, upload_bytes_max)
        if admission.intent.length is not None and admission.intent.length > limit:
            raise Denied("too_large", f"At most {limit} bytes.", size_max=limit)
        promised = promised_digests(admission.inbound)
        if grant.sha256 is not None:
            # What was signed is judged first, as by S3: whoever changed the body may have changed a header too.
            promised = (("sha256", grant.sha256), *promised)
        return cls(grant.length_min, limit, promised)

    @property
    def hashes(self) -> frozenset[str]:
        """The hash functions an upload must compute to be judged."""
        return frozenset([name for name, _ in self.digests])

    def check_so_far(self, received: int) -> None:
        """While bytes arrive: raise `too_large` at the first byte beyond the maximum."""
        if received > self.length_max:
            raise Denied("too_large", f"At most {self.length_max} bytes.", size_max=self.length_max)

    def check_whole(self, received: int, digests: dict[str, bytes]) -> None:
        """Once all bytes are there: raise `too_small` or `digest_mismatch`."""
        if received < self.length_min:
            raise Denied("too_small", f"At least {self.length_min} bytes.", size=received, size_min=self.length_min)
        for name, promised in self.digests:
            if not compare_digest(digests[name], promised):
                raise Denied("digest_mismatch", f"Its {name} differs.", digest=name, computed=digests[name].hex())


def promised_digests(inbound: Inbound) -> tuple[tuple[str, bytes], ...]:
    """Content-MD5 (RFC 1864) and Content-Digest (RFC 9530), decoded. Raises `parameter_invalid`."""
    if inbound.header_names.isdisjoint(_PROMISING):
        return ()
    promised = []
    md5 = inbound.header("content-md5")
    if md5 is not None:
        promised.append(("md5", _base64("Content-MD5", md5, 16)))
    field = inbound.header("content-digest")
    if field is not None:
        members = _digest_members(field)
        sizes = {"sha256": 32, "sha512": 64}
        # RFC 9530 section 2: a recipient ignores algorithms it does not know.
        promised += [
            (_HASHES[name], _base64("Content-Digest", value, sizes[_HASHES[name]]))
            for name, value in members
            if name in _HASHES
        ]
    return tuple(promised)


def _digest_members(field: str) -> list[tuple[str, str]]:
    # Bounded before it is looked at: what it costs must not grow with what a client likes to send.
    members = [_DIGEST_MEMBER.fullmatch(part.strip(" \t")) for part in field[:_FIELD_BYTES_MAX].split(",")]
    if len(field) > _FIELD_BYTES_MAX or None in members:
        raise Denied("parameter_invalid", "Content-Digest is written sha-256=:base64:.")
    return [(member[1], member[2]) for member in members if member]


def _base64(header: str, text: str, size: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        data = b""
    if len(data) != size:
        raise Denied("parameter_invalid", f"{header} is not the base64 of {size} bytes.")
    return data
