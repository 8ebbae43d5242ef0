"""How to mend a refusal, by its code: what is said where the key's own dialect knows no better."""

from typing import Final

MEND: Final = {
    "key_missing": "Take the whole URL, with its query; in a shell, put it in single quotes.",
    "key_malformed": "Take the whole URL; if the key is your own, compare its claims with docs/KEYS.md.",
    "key_ambiguous": "Send the key in one place: the query or the Authorization header.",
    "signature_mismatch": "Sign with a key of this ring (`valetstore keys list`), and leave the URL as it was signed.",
    "key_not_yet_valid": "Wait, or look at the clocks of the signer and of this machine.",
    "key_expired": "Sign a new one; if it should still be valid, look at the clocks.",
    "key_revoked": "Sign a new one with a signing key that is not retired.",
    "key_used": "Sign a new one; it opens no more often than it says.",
    "replay_unavailable": "Look at this machine's clock: the log of used keys has seen a later time.",
    "operation_not_allowed": "Sign one for this method, with a signing key whose profile allows it.",
    "path_not_allowed": "Sign one for this path; the signing key's profile must cover it.",
    "source_not_allowed": "Use it from a network that it and its signing key name; --from says which source to judge.",
    "https_required": "Use https, or set listen.trusted-proxies if a proxy ends TLS in front.",
    "header_required": "Send the header it requires; --header judges with it.",
    "ttl_too_long": "Sign one that lives no longer than the signing key's profile allows.",
    "type_not_allowed": "Send a Content-Type it allows; --header judges with it.",
    "too_large": "Send a body within its length range.",
    "too_small": "Send a body within its length range.",
    "object_key_invalid": "Choose a path /bucket/name that docs/KEYS.md allows.",
    "target_invalid": "Percent-encode what a URL cannot hold.",
}

READ_ONLY: Final = "This bucket is read-only."
MEND_READ_ONLY: Final = "Choose another bucket, or take read-only from this one's settings."
MEND_SLASH: Final = "Put an object's name after the slash: the key opens what is below it."
MEND_REVOKED: Final = "Sign a new one, or take the revocation back: valetstore revoke --undo "
