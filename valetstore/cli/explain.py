"""A judged key in words and as JSON: what it says, whether it is admitted, and how to mend it if not.

Rule 1: nothing here judges, and the signature is never printed.
Rule 2: nothing is claimed that was not found out: an unproven key is called so, an unknown use too.
"""

from typing import Final, Literal, NamedTuple

import click
import msgspec

from valetstore.encoding import http_date
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.grants.native import Claims
from valetstore.inbound import Inbound
from valetstore.units import show_duration, show_size

Use = Literal["unused", "used", "unknown"]

MEND: Final = {
    "key_missing": "Take the whole URL, with its query; in a shell, put it in single quotes.",
    "key_malformed": "Take the whole URL; if the key is your own, compare its claims with docs/KEYS.md.",
    "key_ambiguous": "Send the key in one place: the query or the Authorization header.",
    "signature_mismatch": "Sign with a key of this ring (`valetstore keys list`), and leave the URL as it was signed.",
    "key_not_yet_valid": "Wait, or look at the clocks of the signer and of this machine.",
    "key_expired": "Sign a new one; if it should still be valid, look at the clocks.",
    "key_revoked": "Sign a new one with a signing key that is not retired.",
    "key_used": "Sign a new one; it opens no more often than it says.",
    "replay_unavailable": "Try again in a moment; if it stays so, look at replay.replay-entries-max.",
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
_MEND_READ_ONLY: Final = "Choose another bucket, or take read-only from this one's settings."
_MEND_SLASH: Final = "Put an object's name after the slash: the key opens what is below it."
UNKNOWN: Final = "Whether it has been used is known only to the running gateway, which could not be asked."


class Judgement(NamedTuple):
    """What was found out about one request and its key.

    `claims` is None where they cannot be read, `proven` says whether the signature holds; exactly one of
    `admission` and `denied` decides, and a request that was admitted may be denied later (used, read-only).
    `use` is None for a key without limited uses.
    """

    inbound: Inbound
    claims: Claims | None
    proven: bool
    admission: Admission | None
    denied: Denied | None
    use: Use | None


def tell(found: Judgement) -> None:
    """Print it for a person."""
    inbound, denied = found.inbound, found.denied
    if found.claims is not None:
        click.echo("The key says:" if found.proven else "The key says (its signature is not proven):")
        for line in _in_words(found.claims, inbound.now):
            click.echo(f"  {line}")
    if found.admission is not None:
        grant = found.admission.grant
        click.echo(f"Signing key {grant.signing_key}, key identity {grant.identity.hex()}.")
        for line in _of_the_profile(found.admission, found.claims):
            click.echo(f"  {line}")
    if denied is not None:
        _tell_refusal(found, denied)
        return
    unless = ", unless it has been used" if found.use == "unknown" else ""
    click.echo(f"{inbound.method} {_shown_path(inbound)}: admitted{unless}.")
    if found.use is not None:
        click.echo("The running gateway says that it has a use left." if found.use == "unused" else UNKNOWN)
    if _is_bare_prefix(found):
        click.echo(_MEND_SLASH)


def as_json(found: Judgement) -> dict[str, object]:
    """The same for a program."""
    denied = found.denied
    about: dict[str, object] = {
        "admitted": denied is None,
        "method": found.inbound.method,
        "path": _shown_path(found.inbound),
        "claims": None if found.claims is None else msgspec.to_builtins(found.claims),
    }
    if found.use is not None:
        about["use"] = found.use
    if found.admission is not None:
        grant = found.admission.grant
        about |= {"signing_key": grant.signing_key, "key_identity": grant.identity.hex()}
        about["uses"] = grant.uses_for(found.admission.intent.operation)
        about["shared_budget"] = None if grant.shared_budget is None else msgspec.to_builtins(grant.shared_budget)
    if denied is not None:
        about |= {"code": denied.code, "status": denied.status, "reason": denied.text, "mend": _mend(found, denied)}
    return about


def _tell_refusal(found: Judgement, denied: Denied) -> None:
    click.echo(f"{found.inbound.method} {_shown_path(found.inbound)}: refused, {denied.code} ({denied.status}).")
    click.echo(f"  {denied.text}")
    for name, value in denied.evidence.items():
        if name in ("reason", "signing_key") and value:
            click.echo(f"  {name.replace('_', ' ')}: {value}")
    mend = _mend(found, denied)
    if mend:
        click.echo(f"  {mend}")


def _mend(found: Judgement, denied: Denied) -> str:
    if denied.code == "object_key_invalid" and _is_bare_prefix(found):
        return _MEND_SLASH
    if denied.detail == READ_ONLY:
        return _MEND_READ_ONLY
    return MEND.get(denied.code, "")


def _is_bare_prefix(found: Judgement) -> bool:
    """A prefix's own path was asked for, as the URL that signs it shows it."""
    claims = found.claims
    return claims is not None and claims.prefix is not None and "list" not in claims.ops and _ends_in_slash(found)


def _ends_in_slash(found: Judgement) -> bool:
    return found.inbound.raw_path.endswith(b"/")


def _in_words(claims: Claims, now: float) -> list[str]:
    """One line for each thing it says."""
    where = claims.path if claims.path is not None else f"everything below {claims.prefix}"
    lines = [f"{', '.join(claims.ops)}: {where}"]
    left = claims.exp - now
    ends = f"{show_duration(left)} left" if left > 0 else f"{show_duration(-left)} ago"
    lines.append(f"until {http_date(int(claims.exp))} ({ends})")
    if claims.nbf is not None:
        lines.append(f"not before {http_date(int(claims.nbf))}")
    if claims.uses is not None:
        window = f", repeatable for {show_duration(claims.window)}" if claims.window else ""
        lines.append(f"{_times(claims.uses)}{window}")
    if claims.budget is not None:
        lines.append(f"at most {claims.budget}")
    if claims.length is not None:
        lines.append(f"uploads of {' to '.join(show_size(size) for size in claims.length)}")
    said = {
        "content type": claims.type,
        "from": claims.ip,
        "for": claims.sub,
        "audience": claims.aud,
        "digest": claims.sha256,
        "headers": [f"{name}: {value}" for name, value in claims.headers.items()],
        "response": [f"{name}: {value}" for name, value in claims.response.items()],
    }
    for name, value in said.items():
        if value:
            lines.append(f"{name} {value if isinstance(value, str) else ', '.join(value)}")
    lines += ["only over HTTPS"] if claims.https else []
    lines += ["never replaces an object"] if claims.create else []
    return lines


def _of_the_profile(admission: Admission, claims: Claims | None) -> list[str]:
    """What the signing key's profile says of uses and budgets beyond the key."""
    grant, operation = admission.grant, admission.intent.operation
    lines = []
    uses = grant.uses_for(operation)
    if uses is not None and (claims is None or claims.uses != uses):
        lines.append(f"opens {operation} {_times(uses)}, by its signing key's profile")
    if grant.shared_budget is not None:
        lines.append(f"all keys of its signing key together: at most {grant.shared_budget}")
    return lines


def _times(uses: int) -> str:
    return "once" if uses == 1 else f"{uses} times"


def _shown_path(inbound: Inbound) -> str:
    return inbound.raw_path.decode("latin-1")
