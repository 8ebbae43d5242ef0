"""The dialect of CloudFront: which of its keys came, what the request asks for, and the grant that follows.

Rule 1: its keys read. Every other method is an operation that no grant of this dialect has.
Rule 2: a grant is for the one path that was asked for: a resource with wildcards is no prefix, and each request is
judged by itself. So a policy that opens many objects is still one key: one identity, one use where uses are limited.
Rule 3: the query that follows a path (`response-content-type`, ...) is signed or not as the policy says, and changes
nothing in the answer.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Final

from valetstore.errors import Denied
from valetstore.grants.cloudfront.claim import MARKS, Claim, claim_of, in_cookies, in_query
from valetstore.grants.cloudfront.policy import Policy, canned_text, custom_policy
from valetstore.grants.cloudfront.resource import Asked, asked_of, opens
from valetstore.grants.cloudfront.rules import Rules
from valetstore.grants.covered import covered_by_request
from valetstore.grants.grant import Grant, Intent, Operation, Proof, Scope
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.material import SignatureHash, ecdsa_holds, rsa_holds
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import CLOUDFRONT as NAME
from valetstore.keys.vendor import ECDSA
from valetstore.objectkey import ObjectKey

_ACTIONS: Final[Mapping[str, tuple[Operation, str]]] = {
    "GET": ("read", "GetObject"),
    "HEAD": ("read", "HeadObject"),
    "PUT": ("write", "PutObject"),
    "POST": ("write", "PostObject"),
    "DELETE": ("delete", "DeleteObject"),
}
"""What a method asks for; the gate refuses what is not a read, since no grant of this dialect has it."""


class CloudFront:
    """The scheme, with the operator's rules."""

    name = NAME
    signs_method = False
    marks = MARKS

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """A signed URL, and signed cookies: however many cookies there are, they are one key."""
        found = [Credential(self, "query", "")] if in_query(inbound) else []
        if in_cookies(inbound):
            found.append(Credential(self, "cookie", ""))
        return found

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for. Raises `object_key_invalid`, `target_invalid`, `method_not_allowed`."""
        action = _ACTIONS.get(inbound.method)
        if action is None:
            raise Denied("method_not_allowed", allow="GET, HEAD")
        key = ObjectKey.parse(inbound.path)
        return Intent(action[0], key.path, key, action=action[1])

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent | None = None) -> Proof:
        """Prove the credential. Raises `key_malformed`, `key_ambiguous`, `parameter_invalid`, `signature_mismatch`."""
        claim = claim_of(inbound, credential.carrier)
        policy = None if claim.policy is None else custom_policy(claim.policy)
        key = keys.find(NAME, claim.key_pair_id)
        if key is None:
            raise Denied("signature_mismatch", reason="no signing key has this key pair id").saying(
                "InvalidKey", "Unknown Key", 403
            )
        asked = asked_of(inbound, self.rules)
        signed = _signed_text(claim, asked, key, self.rules)
        # The two numbers of an ECDSA signature can be written in another way that holds as well.
        proven = signed if key.record.algorithm == ECDSA else claim.signature
        identity = key.identity_of(proven)
        return Proof(_grant(policy or Policy("", claim.expires), key, identity, _scopes(policy, asked)), key.limits)

    def covered(self, inbound: Inbound, credential: Credential) -> Hashable:
        """The request, and its cookies where they are the key."""
        return covered_by_request(inbound, credential, cookies=credential.carrier == "cookie")


def signed_texts(claim: Claim, asked: Asked) -> Iterator[bytes]:
    """What may have been signed, the usual first: a custom policy, or the canned one for each form of the URL."""
    if claim.policy is not None:
        yield claim.policy
        return
    for url in asked.urls:
        try:
            yield canned_text(url, claim.expires)
        except ValueError:
            return


def hashes_of(claim: Claim, key: SigningKey, rules: Rules) -> tuple[SignatureHash, ...]:
    """Which hashes may have been signed, the usual first.

    Where a key does not say it is SHA-1. Keys of ECDSA are newer than signers that could say it: for them SHA-256 is
    taken as well.
    """
    hashes: tuple[SignatureHash, ...] = (claim.hashed,) if claim.hashed else ("sha1",)
    if claim.hashed is None and key.record.algorithm == ECDSA:
        hashes = ("sha1", "sha256")
    return hashes if rules.sha1 else tuple(one for one in hashes if one != "sha1")


def holds(key: SigningKey, text: bytes, signature: bytes, hashed: SignatureHash) -> bool:
    """Whether a signing key has signed this text over this hash."""
    if key.record.algorithm == ECDSA:
        return ecdsa_holds(key.material, text, signature, hashed)
    return rsa_holds(key.material, text, signature, hashed)


def _signed_text(claim: Claim, asked: Asked, key: SigningKey, rules: Rules) -> bytes:
    """The text that was signed. Raises `key_malformed` where its hash is refused here, `signature_mismatch`."""
    hashes = hashes_of(claim, key, rules)
    if not hashes:
        said = "Signatures over SHA-1 are refused here: sign over SHA-256, and say so with Hash-Algorithm=SHA256."
        raise Denied("key_malformed", said, signing_key=key.name).saying("AccessDenied", said, 403)
    for text in signed_texts(claim, asked):
        if any(holds(key, text, claim.signature, hashed) for hashed in hashes):
            return text
    raise Denied("signature_mismatch", reason="the signature differs", signing_key=key.name)


def _scopes(policy: Policy | None, asked: Asked) -> tuple[Scope, ...]:
    """The path that was asked for; none where a custom policy's resource does not fit: then the gate refuses the path,
    in its order, after the time.
    """
    return (Scope(asked.decoded_path),) if policy is None or opens(policy.resource, asked) else ()


def _grant(policy: Policy, key: SigningKey, identity: bytes, scopes: tuple[Scope, ...]) -> Grant:
    return Grant(
        scheme=NAME,
        signing_key=key.name,
        identity=identity,
        operations=frozenset({"read"}),
        scopes=(scopes,),
        not_after=policy.not_after,
        not_before=policy.not_before,
        networks=(policy.networks,) if policy.networks else (),
    )
