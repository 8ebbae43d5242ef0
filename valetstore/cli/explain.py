"""A judged key in words and as JSON: what it says, whether it is admitted, and how to mend it if not.

Rule 1: nothing here judges, and the signature is never printed.
Rule 2: nothing is claimed that was not found out: an unproven key is called so, an unknown use too.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import click
import msgspec

from valetstore.cli.about import About, told
from valetstore.cli.mend import MEND, MEND_READ_ONLY, MEND_REVOKED, MEND_SLASH, READ_ONLY
from valetstore.cli.options import plain
from valetstore.encoding import http_date
from valetstore.errors import Denied
from valetstore.grants.claims import Claims
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.policy.revocation import Revocation
from valetstore.units import show_duration, show_size

State = Literal["unused", "used", "unknown"]

_UNREAD: Final = (
    "Run this as the gateway's user. Where a log is damaged, see `valetstore repair`: a gateway refuses then."
)
_UNLESS: Final = {"revocation": "revoked", "use": "used"}


class Uses(NamedTuple):
    """What is left of a key with limited uses: `left` of `allowed`, None where that is unknown, for the reason `why`.

    `state` is `used` where none is left. Until `repeatable_until` (seconds since the epoch) the source that was judged
    may repeat a use all the same. `released` says that its holder gave it back; `refusal` is how the gate refuses it
    for its uses.
    """

    state: State
    allowed: int
    left: int | None = None
    repeatable_until: float | None = None
    released: bool = False
    why: str = ""
    refusal: Denied | None = None


class Judgement(NamedTuple):
    """What was found out about one request and its key.

    `claims` is None where they cannot be read, `proven` says whether the signature holds. It is admitted where
    `denied` is None; a request that the gate admitted may be denied after it (used up, read-only). `uses` is None for
    a key without limited uses. `revocation` is the entry that refuses it, `unread` why there is no telling ("": there
    is). `about` is what else there is to say of a vendor's key.
    """

    inbound: Inbound
    claims: Claims | None
    proven: bool
    admission: Admission | None
    denied: Denied | None
    uses: Uses | None
    revocation: Revocation | None = None
    unread: str = ""
    about: About | None = None


def tell(found: Judgement) -> None:
    """Print it for a person."""
    click.echo("\n".join(plain(line) for line in _lines(found)))


def as_json(found: Judgement) -> dict[str, object]:
    """The same for a program."""
    denied, uses = found.denied, found.uses
    about: dict[str, object] = {
        "admitted": denied is None,
        "method": found.inbound.method,
        "path": _shown_path(found.inbound),
        "claims": None if found.claims is None else msgspec.to_builtins(found.claims),
        "unknown": _unknown(found),
    }
    if found.about is not None:
        about |= {"dialect": found.about.scheme, found.about.scheme: found.about.as_json()}
    if found.admission is not None:
        grant = found.admission.grant
        about |= {"signing_key": grant.signing_key, "key_identity": grant.identity.hex()}
        about["uses"] = grant.uses_for(found.admission.intent.operation)
        about["shared_budget"] = None if grant.shared_budget is None else msgspec.to_builtins(grant.shared_budget)
    if uses is not None:
        about |= {"use": uses.state, "uses": uses.allowed, "uses_left": uses.left, "released": uses.released}
        about["repeatable_until"] = uses.repeatable_until
    if denied is not None:
        about |= {"code": denied.code, "status": denied.status, "reason": denied.text, "mend": _mend(found, denied)}
        if found.about is not None:
            said = found.about.vendors(denied, found.inbound)
            about |= {"status": said.status, f"{found.about.scheme}_code": said.code}
    if found.revocation is not None:
        entry = found.revocation
        about["revocation"] = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return about


def _unknown(found: Judgement) -> dict[str, str]:
    """What could not be found out, and why."""
    reasons = {"revocation": found.unread, "use": found.uses.why if found.uses is not None else ""}
    return {name: why for name, why in reasons.items() if why}


def _lines(found: Judgement) -> Iterator[str]:
    if found.claims is not None:
        yield "The key says:" if found.proven else "The key says (its signature is not proven):"
        yield from (f"  {line}" for line in _in_words(found.claims, found.inbound.now))
    if found.about is not None:
        yield "The key says:" if found.proven else "The key says (its signature is not proven):"
        yield from (f"  {line}" for line in found.about.says(found.inbound))
    if found.admission is not None:
        grant = found.admission.grant
        yield f"Signing key {grant.signing_key}, key identity {grant.identity.hex()}."
        yield from (f"  {line}" for line in _of_the_profile(found.admission, _own_uses(found)))
        if found.about is not None:
            yield from (f"  {line}" for line in found.about.ends_early(grant.not_after, found.inbound.now))
    if found.denied is not None:
        yield from _refusal(found, found.denied)
    else:
        questions = " or ".join(_UNLESS[name] for name in _unknown(found))
        condition = f", unless it has been {questions}" if questions else ""
        yield f"{_asked(found)}: admitted{condition}."
    if found.about is not None:
        yield from found.about.why(found.denied)
    if found.uses is not None:
        yield from _left(found.uses, found.inbound)
    if found.denied is None:
        for name, why in _unknown(found).items():
            yield f"Whether it has been {_UNLESS[name]} is unknown: {why}."
        if _unknown(found):
            yield _UNREAD
        if _is_bare_prefix(found):
            yield MEND_SLASH


def _asked(found: Judgement) -> str:
    """Method and path; with the dialect's own name for it, where it has one."""
    action = found.admission.intent.action if found.admission is not None else ""
    return f"{found.inbound.method} {_shown_path(found.inbound)}" + (f" ({action})" if action else "")


def _refusal(found: Judgement, denied: Denied) -> Iterator[str]:
    code = f"{denied.code} ({denied.status})" if found.about is None else told(found.about, denied, found.inbound)
    yield f"{_asked(found)}: refused, {code}."
    yield f"  {denied.text}"
    if found.revocation is not None:
        yield f"  {_in_short(found.revocation)}"
    for name, value in denied.evidence.items():
        if name in ("reason", "signing_key") and value:
            yield f"  {name.replace('_', ' ')}: {value}"
    mend = _mend(found, denied)
    if mend:
        yield f"  {mend}"


def _mend(found: Judgement, denied: Denied) -> str:
    if found.about is not None and (own := found.about.mend(denied)):
        return own
    if denied.code == "object_key_invalid" and _is_bare_prefix(found):
        return MEND_SLASH
    if denied.detail == READ_ONLY:
        return MEND_READ_ONLY
    if found.revocation is not None:
        return f"{MEND_REVOKED}{found.revocation.id}"
    return MEND.get(denied.code, "")


def _in_short(entry: Revocation) -> str:
    """What an entry means, for whoever wonders why this key is among it; its reason stands beside it."""
    before = "" if entry.issued_before is None else f", issued before {http_date(int(entry.issued_before))}"
    made = f"of {http_date(int(entry.created_at))} by {entry.by}"
    return f"revocation {entry.id} {made}: {entry.kind} {entry.value}{before}"


def _left(uses: Uses, inbound: Inbound) -> Iterator[str]:
    """How many uses are left; nothing where that is unknown."""
    if uses.released:
        yield "Its holder has given it back: no use is left."
    elif uses.left is not None:
        yield f"{uses.left} of {uses.allowed} use{'s' if uses.allowed > 1 else ''} left."
    if uses.repeatable_until is not None:
        yield f"{inbound.peer} may repeat its use until {http_date(int(uses.repeatable_until))}."


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


def _own_uses(found: Judgement) -> int | None:
    """How often the key itself says that it opens."""
    if found.about is not None:
        return found.about.own_uses()
    return None if found.claims is None else found.claims.uses


def _of_the_profile(admission: Admission, own: int | None) -> list[str]:
    """What the signing key's profile says of uses and budgets beyond the key."""
    grant, operation = admission.grant, admission.intent.operation
    lines = []
    uses = grant.uses_for(operation)
    if uses is not None and own != uses:
        lines.append(f"opens {operation} {_times(uses)}, by its signing key's profile")
    if grant.shared_budget is not None:
        lines.append(f"all keys of its signing key together: at most {grant.shared_budget}")
    return lines


def _times(uses: int) -> str:
    return "once" if uses == 1 else f"{uses} times"


def _shown_path(inbound: Inbound) -> str:
    return inbound.raw_path.decode("latin-1")
