"""What a TempURL or a form of Swift's says of itself, proven or not.

Rule: nothing here is proof, and what is not there or cannot be read is left out: whoever refuses the key says why.
"""

from typing import Final

from valetstore.errors import Denied
from valetstore.grants.facts import Fact, Facts
from valetstore.grants.swift import formpost, tempurl
from valetstore.grants.swift.address import Place, path_of, place_of
from valetstore.grants.swift.mistakes import METHODS, causes_of_form, causes_of_url, holds
from valetstore.grants.swift.rules import Rules
from valetstore.grants.swift.signature import Signature, read_signature
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import SWIFT as NAME

_ANY: Final = Rules(sha1=True)


def facts_of(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts | None:
    """What a key of Swift's says of itself; None where none came. Raises nothing."""
    try:
        if formpost.in_form(inbound):
            return _of_form(inbound, rules, keys)
        return _of_url(inbound, rules, keys) if tempurl.in_query(inbound) else None
    except Denied:
        return None


# TempURLs


def _of_url(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts:
    said = {name: values[0] for name in _PARAMETERS if (values := inbound.parameters(name))}
    place = _place(inbound)
    expires = tempurl.moment_of(said.get(tempurl.EXPIRES, ""))
    ip_range, prefix = said.get(tempurl.IP_RANGE, ""), said.get(tempurl.PREFIX)
    signature = _signature(said.get(tempurl.SIGNATURE, ""))
    facts, computed, causes, method = [], "", list[str](), ""
    if signature is not None:
        facts.append(_hash_fact(signature))
    if prefix is not None and place is not None:
        within = f"/{place.container}/{prefix}"
        facts.append(Fact("prefix", within, f"It opens every object whose name begins with {within}"))
    facts += [
        Fact(name, said[name], f"It asks for {name} {said[name]}".rstrip() + ", which is not signed")
        for name in (tempurl.FILENAME, tempurl.INLINE)
        if name in said
    ]
    if place is not None and expires is not None:
        prefixes = () if prefix is None else (prefix,)
        paths = tempurl.signed_paths(place, prefixes) or [
            f"prefix:{path_of(place.account, f'/{place.container}/{prefix}')}"
        ]
        computed = tempurl.text_to_sign(inbound.method, expires, paths[0], ip_range).decode()
        if signature is not None:
            method = _method_of(inbound, place, signature, expires, ip_range, prefixes, keys)
            causes = list(causes_of_url(inbound, place, signature, said, expires, keys)) if not method else []
            causes += _sha1_cause(signature, rules)
    if method and inbound.method not in (method, *(m for m, ways in tempurl.SIGNED_BY.items() if method in ways)):
        causes.append(f"It was signed for {method}, not for {inbound.method}.")
    return Facts(
        kind="TempURL",
        signer=place.account if place else "",
        carrier="query",
        method=method,
        expires_at=expires,
        networks=(ip_range,) if ip_range else (),
        said=tuple(facts),
        computed=computed,
        causes=tuple(causes),
    )


_PARAMETERS: Final = (
    tempurl.SIGNATURE,
    tempurl.EXPIRES,
    tempurl.PREFIX,
    tempurl.IP_RANGE,
    tempurl.FILENAME,
    tempurl.INLINE,
)


def _method_of(
    inbound: Inbound,
    place: Place,
    signature: Signature,
    expires: int,
    ip_range: str,
    prefixes: tuple[str, ...],
    keys: KeyRing,
) -> str:
    """The method that it was signed for, the request's own first; "" where its signature holds for none."""
    for method in dict.fromkeys((inbound.method, *METHODS)):
        for path in tempurl.signed_paths(place, prefixes):
            text = tempurl.text_to_sign(method, expires, path, ip_range)
            if any(holds(key, text, signature) for key in keys.find_all(NAME, place.account)):
                return method
    return ""


# Forms


def _of_form(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts:
    fields = dict(inbound.form or ())
    place, signature = _place(inbound), _signature(fields.get(formpost.SIGNATURE, ""))
    facts = [] if signature is None else [_hash_fact(signature)]
    for name, words in (
        (formpost.SIZE_MAX, "Each file has at most {} bytes"),
        (formpost.COUNT_MAX, "At most {} files"),
        (formpost.REDIRECT, "It leads to {}"),
    ):
        if name in fields:
            facts.append(Fact(name, fields[name], words.format(fields[name])))
    if place is not None:
        facts.append(Fact("prefix", place.path, f"The names of its files begin with {place.path}"))
    text = formpost.text_of(inbound.path, fields)
    causes = list[str]()
    if place is not None and signature is not None:
        own = keys.find_all(NAME, place.account)
        if not any(holds(key, text, signature) for key in own):
            causes += causes_of_form(inbound, place, signature, fields, keys)
        causes += _sha1_cause(signature, rules)
    return Facts(
        kind="FormPost",
        signer=place.account if place else "",
        carrier="form",
        method="POST",
        expires_at=tempurl.moment_of(fields.get(formpost.EXPIRES, "")),
        said=tuple(facts),
        computed=text.decode(),
        causes=tuple(causes),
    )


# Both


def _place(inbound: Inbound) -> Place | None:
    try:
        return place_of(inbound)
    except Denied:
        return None


def _signature(text: str) -> Signature | None:
    try:
        return read_signature(text, _ANY)
    except Denied:
        return None


def _hash_fact(signature: Signature) -> Fact:
    return Fact("hash", signature.hash, f"Signed with HMAC-{signature.hash.upper()}")


def _sha1_cause(signature: Signature, rules: Rules) -> list[str]:
    if signature.hash != "sha1" or rules.sha1:
        return []
    return ["It was made with SHA-1, which the gateway does not take (swift.tempurl-sha1 = false)."]
