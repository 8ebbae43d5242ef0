"""Which key came with a request: exactly one, or a refusal.

Rule 1: an explicit credential (query, Authorization, form) wins over a cookie, which a browser adds by
itself; two explicit ones are refused, whatever their dialects, because two parties might judge by
different ones.
Rule 2: a cookie opens only GET and HEAD: another site's form can make a browser send it.
"""

from collections.abc import Sequence

from valetstore.errors import Denied
from valetstore.grants.scheme import CARRIERS, Credential, Scheme
from valetstore.inbound import Inbound

_COOKIE_METHODS = frozenset({"GET", "HEAD"})
_NOTE = "recognised"
"""The note of a frame: its credential, among these schemes. What a credential's text is of, is in the frame."""


def recognise(inbound: Inbound, schemes: Sequence[Scheme]) -> Credential:
    """The one credential. Raises `key_missing`, `key_ambiguous`, `key_malformed`."""
    if inbound.form is not None or not inbound.header_names.isdisjoint(CARRIERS):
        return _the_one(inbound, [credential for scheme in schemes for credential in scheme.recognises(inbound)])
    framed = inbound.framed
    noted: tuple[Sequence[Scheme], Credential] | None = None if framed is None else framed.frame.notes.get(_NOTE)
    if noted is not None and noted[0] is schemes:
        return noted[1]
    found = _in_query(inbound, schemes)
    credential = found[0] if len(found) == 1 else _the_one(inbound, found)
    if framed is not None:
        framed.frame.notes[_NOTE] = schemes, credential
    return credential


def _in_query(inbound: Inbound, schemes: Sequence[Scheme]) -> list[Credential]:
    """Of a request that carries keys nowhere else: what has no mark of a dialect in its query has no key of it."""
    names, found = inbound.names, list[Credential]()
    for scheme in schemes:
        if not scheme.marks.isdisjoint(names):
            found += scheme.recognises(inbound)
    return found


def _the_one(inbound: Inbound, found: Sequence[Credential]) -> Credential:
    """The one that counts of all that were found."""
    explicit = [credential for credential in found if credential.carrier != "cookie"]
    authorizations = len(inbound.header_values("authorization"))
    recognised = sum(credential.carrier == "header" for credential in explicit)
    # An Authorization of a kind nobody here knows is a credential all the same.
    if len(explicit) + authorizations - recognised > 1:
        raise Denied("key_ambiguous", "Send it in one place, once.")
    if explicit:
        return explicit[0]
    if authorizations:
        raise Denied("key_malformed", "This Authorization scheme is not known here; use Bearer.")
    if len(found) > 1:
        raise Denied("key_ambiguous", "More than one cookie carries a key.")
    if not found:
        raise Denied("key_missing")
    if inbound.method not in _COOKIE_METHODS:
        raise Denied("key_missing", "A cookie opens only GET and HEAD.")
    return found[0]
