"""`valetstore inspect`: what a key says in plain words, and whether this gateway would admit it now.

Rule 1: it judges by the very gate that serves, on the settings, the ring and the logs as they stand on the disk.
Rule 2: it uses nothing up and writes nothing, and asks no gateway: it says the same whether one runs or not.
Rule 3: a log that cannot be read is no answer: then what it would have said is unknown, and why is said.
"""

import asyncio
import time
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import click

from valetstore.cli import explain, explain_s3
from valetstore.cli.about import About
from valetstore.cli.address import endpoint_of
from valetstore.cli.explain import Judgement, Uses
from valetstore.cli.explain_vendor import explained
from valetstore.cli.fitting import fitting
from valetstore.cli.mend import READ_ONLY
from valetstore.cli.options import Settings, json_option, print_json, settings_options
from valetstore.cli.request import described, header_of, pairs_of, text_of
from valetstore.config import Config
from valetstore.dialects import rules_of, schemes_of
from valetstore.errors import ConfigInvalid, Denied
from valetstore.gateway import Gateway, use_of
from valetstore.grants.claims import Claims
from valetstore.grants.grant import Admission, Grant, Intent
from valetstore.grants.native import unproven
from valetstore.grants.networks import plain_address
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.journal import JournalDamaged
from valetstore.keys.ringfile import RingFile
from valetstore.owner import offline
from valetstore.owner.owner import logs_are_expected
from valetstore.policy.budget import BudgetBook
from valetstore.policy.revocation import RevocationTable
from valetstore.redact import redact
from valetstore.replay.memory import MemoryReplaySet

_UNPROVEN: Final = "its signature is not proven"
_NOT_LOOKED_AT: Final = "it is refused before its uses are looked at"


class _Key(NamedTuple):
    """What is known of the key itself, whether it is admitted or not.

    `claims` is None where they cannot be read; `is_proven` says whether the signature holds; `intent` is None where
    the request asks for nothing that there is, `grant` where the key is not proven or not for this gateway.
    """

    claims: Claims | None
    is_proven: bool
    intent: Intent | None = None
    grant: Grant | None = None


@click.command("inspect", short_help="Say what a key allows, and whether it is admitted now.")
@click.argument("url")
@settings_options
@json_option
@click.option("--method", metavar="M", help="Judge this method; default: the one the key is for.")
@click.option("--from", "source", metavar="ADDRESS", help="Judge this source; default: one the key allows.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header; may be repeated.")
@click.option(
    "--canonical-request",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="S3: compare with the canonical request that the signer says it signed.",
)
def command(
    settings: Settings,
    url: str,
    method: str | None,
    source: str | None,
    headers: tuple[str, ...],
    canonical_request: Path | None,
    as_json: bool,
) -> int:
    """Say what the key in URL allows, and whether this gateway would admit it now.

    If not: the code, the reason, and how to mend it. The signature is never printed. What the request would have to
    bring (method, source address, content type, headers) is taken as the key asks for it, unless options say
    otherwise. What has been used and revoked is read in the gateway's logs, whether it runs or not; a use that an
    upload has taken and not finished with is in none. Exit status 0 admitted, 1 refused.

    URL may also be JSON with `url` and a form's `fields` or `cookies`, or a `Cookie:` line; `-` reads it from stdin.
    Where a signature does not hold, it is said what would make it hold, as far as that can be found out: another
    method, Host, path, query or region (s3), another method, account, URL or hash (the others).
    """
    config = settings.load()
    theirs = None if canonical_request is None else text_of("--canonical-request", canonical_request)
    gateway = _gateway(config)
    inbound = _inbound(config, url, method, source, headers, gateway)
    found = _judge(config, gateway, inbound)
    found = found._replace(about=_about(config, gateway, found, theirs))
    if as_json:
        print_json(explain.as_json(found))
    else:
        explain.tell(found)
    return 1 if found.denied else 0


def _about(config: Config, gateway: Gateway, found: Judgement, theirs: str | None) -> About | None:
    """What else there is to say of a vendor's key; `theirs` is a canonical request to compare with."""
    inbound, rules = found.inbound, rules_of(config)
    # S3's last: it takes any form for one of its own.
    return explained(inbound, rules, gateway.keys) or explain_s3.explained(
        inbound, rules.s3, gateway.keys, found.denied, theirs, _hosts(config)
    )


def _judge(config: Config, gateway: Gateway, inbound: Inbound) -> Judgement:
    key = _key(inbound, gateway)
    unread = _take_revocations(config, gateway, key)
    uses = _uses(config, gateway, inbound, key)
    admission: Admission | None = None
    denied: Denied | None = None
    try:
        admission = asyncio.run(gateway.admit(inbound))
        # The gate looks at the uses last; the store comes after it.
        if uses is not None and uses.refusal is not None:
            raise uses.refusal
        _refuse_read_only(config, admission)
    except Denied as refused:
        denied = refused
    revocation = gateway.revocations.get(str(denied.evidence.get("revocation", ""))) if denied else None
    return Judgement(inbound, key.claims, key.is_proven, admission, denied, uses, revocation, unread)


def _take_revocations(config: Config, gateway: Gateway, key: _Key) -> str:
    """Let the gate judge by those that may mean the key; why they cannot be read, or ""."""
    if key.grant is not None:
        try:
            expected = _logs_are_expected(config, gateway)
            gateway.revocations = offline.revocations(config.data / "state", key.grant, expected=expected)
        except JournalDamaged as damaged:
            return str(damaged)
    return ""


def _uses(config: Config, gateway: Gateway, inbound: Inbound, key: _Key) -> Uses | None:
    """What is left of a key with limited uses, and how the gate would refuse it for that; None for any other key."""
    if key.grant is None or key.intent is None:
        claimed = None if key.claims is None else key.claims.uses
        return None if claimed is None else Uses("unknown", claimed, why=_NOT_LOOKED_AT if key.is_proven else _UNPROVEN)
    use = use_of(key.grant, key.intent, inbound)
    if use is None:
        return None
    try:
        expected, skew = _logs_are_expected(config, gateway), config.keys.clock_skew_seconds
        found = offline.uses(config.data / "state", use.identity, expected=expected, skew=skew)
        found.look(use, inbound.now)
    except JournalDamaged as damaged:
        return Uses("unknown", use.allowed, why=str(damaged))
    except Denied as denied:
        if denied.code != "key_used":
            return Uses("unknown", use.allowed, why=str(denied.evidence.get("reason", "")), refusal=denied)
        return Uses("used", use.allowed, 0, released=found.released(use), refusal=denied)
    left = found.left(use)
    return Uses("unused" if left else "used", use.allowed, left, found.repeatable_until(use, inbound.now))


def _logs_are_expected(config: Config, gateway: Gateway) -> bool:
    """Whether there must be logs. Raises JournalDamaged where that cannot be told."""
    try:
        return logs_are_expected(config, gateway.keys)
    except ConfigInvalid as invalid:
        raise JournalDamaged(str(invalid)) from invalid


def _gateway(config: Config) -> Gateway:
    ring = RingFile(config.data).load()
    return Gateway(schemes_of(config), ring, MemoryReplaySet(1), RevocationTable(), BudgetBook(), config.budgets)


def _inbound(
    config: Config,
    url: str,
    method: str | None,
    source: str | None,
    headers: tuple[str, ...],
    gateway: Gateway,
) -> Inbound:
    """The request to judge: what the options say, and for the rest what the key asks for."""
    told, rules = described(url), rules_of(config)
    given = told.headers | dict(header_of(text) for text in headers)
    now = time.time()
    try:
        bare = Inbound((method or "GET").upper(), told.target, pairs_of(given), now=now, tls=told.tls, form=told.form)
        claims, found = _claims(bare, gateway), explained(bare, rules, gateway.keys)
        asked = fitting(bare, claims, found, gateway, rules, method_is_given=method is not None)
    except Denied as denied:
        raise ConfigInvalid(f"URL {redact(url)!r}: {denied.detail}") from None
    if not told.has_place and asked.url:
        told = told.at(asked.url)
    sent = dict(asked.headers) | told.headers | given
    source = source or asked.source or "127.0.0.1"
    try:
        peer = plain_address(source)
    except ValueError:
        raise ConfigInvalid(f"--from {source!r}: must be an IP address") from None
    return Inbound(asked.method.upper(), told.target, pairs_of(sent), now=now, peer=peer, tls=told.tls, form=asked.form)


def _hosts(config: Config) -> tuple[str, ...]:
    """Names under which clients may have been told of this gateway."""
    listening = [address for address in config.listen.listen if not address.startswith("unix:")]
    return (*(host for host in [urlsplit(endpoint_of(config)).netloc] if host), *listening)


def _claims(inbound: Inbound, gateway: Gateway) -> Claims | None:
    """What the key says, proven or not; None where that cannot be read."""
    try:
        return unproven(recognise(inbound, gateway.schemes).text)
    except Denied:
        return None


def _key(inbound: Inbound, gateway: Gateway) -> _Key:
    """Not by the gate: it may refuse a key before its signature is looked at, or for another reason after that."""
    claims = _claims(inbound, gateway)
    try:
        credential = recognise(inbound, gateway.schemes)
        proof = credential.scheme.verify(inbound, credential, gateway.keys)
    except Denied as denied:
        # Claims that can be read were refused as such: `verify` reads none before the signature holds.
        return _Key(claims, (denied.code == "key_malformed" and claims is not None) or explain_s3.is_proven(denied))
    grant = proof.grant.narrowed_by(proof.limits)
    try:
        return _Key(claims, True, credential.scheme.intent(inbound), grant)
    except Denied:
        return _Key(claims, True, None, grant)


def _refuse_read_only(config: Config, admission: Admission) -> None:
    """What the store refuses after the gate: a write to a bucket that the settings make read-only."""
    intent = admission.intent
    if intent.operation not in ("write", "delete") or intent.key is None:
        return
    bucket = config.buckets.get(intent.key.bucket)
    if bucket is not None and bucket.read_only:
        raise Denied("operation_not_allowed", READ_ONLY)
