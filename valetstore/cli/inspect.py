"""`valetstore inspect`: what a key says in plain words, and whether this gateway would admit it now.

Rule 1: it judges by the very gate that serves, on the settings and the ring as they stand.
Rule 2: it uses nothing up. What has been used only the running gateway knows; it is asked with HEAD, which
claims no use, and where it cannot be asked that is said.
"""

import asyncio
import http.client
import re
import time
from typing import Final
from urllib.parse import urlsplit

import click

from valetstore.cli import explain
from valetstore.cli.door import connection, doors
from valetstore.cli.explain import READ_ONLY, Judgement, Use
from valetstore.cli.options import Settings, json_option, print_json, settings_options
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.errors import ConfigInvalid, Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission, Grant
from valetstore.grants.native import Audience, Claims, Native, as_list, unproven
from valetstore.grants.networks import plain_address
from valetstore.grants.recognise import recognise
from valetstore.inbound import Headers, Inbound
from valetstore.keys.ringfile import RingFile
from valetstore.policy.budget import BudgetBook
from valetstore.policy.revocation import RevocationTable
from valetstore.redact import redact
from valetstore.replay.memory import MemoryReplaySet

_METHOD_OF: Final = {"read": "GET", "list": "GET", "write": "PUT", "delete": "DELETE", "admin": "POST"}
_SECONDS: Final = 5
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:([^\x00-\x08\x0a-\x1f\x7f]*)")

_ADMITTED_FIRST: Final = frozenset({None, "not_found", "precondition_failed"})
"""What a gateway answers to a HEAD only after it has looked whether a use is left; None is no refusal."""


@click.command("inspect", short_help="Say what a key allows, and whether it is admitted now.")
@click.argument("url")
@settings_options
@json_option
@click.option("--method", metavar="M", help="Judge this method; default: the one the key is for.")
@click.option("--from", "source", metavar="ADDRESS", help="Judge this source; default: one the key allows.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header; may be repeated.")
def command(
    settings: Settings,
    url: str,
    method: str | None,
    source: str | None,
    headers: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say what the key in URL allows, and whether this gateway would admit it now.

    If not: the code, the reason, and how to mend it. The signature is never printed. What the request would have to
    bring (method, source address, content type, headers) is taken as the key asks for it, unless options say
    otherwise. Whether a key with limited uses has been used is asked of the running gateway with HEAD, which uses
    nothing up; of a key for writing it cannot be asked. Exit status 0 admitted, 1 refused.
    """
    config = settings.load()
    gateway = _gateway(config)
    found = _judge(config, gateway, _inbound(url, method, source, headers, gateway))
    if as_json:
        print_json(explain.as_json(found))
    else:
        explain.tell(found)
    return 1 if found.denied else 0


def _judge(config: Config, gateway: Gateway, inbound: Inbound) -> Judgement:
    claims = _claims(inbound, gateway)
    admission: Admission | None = None
    denied: Denied | None = None
    use: Use | None = None if claims is None or claims.uses is None else "unknown"
    try:
        admission = asyncio.run(gateway.admit(inbound))
        # A profile may limit the uses of a key that says nothing of them.
        use = None if admission.use is None else "unknown"
        _refuse_read_only(config, admission)
        if admission.use is not None:
            use = _ask_running(config, admission)
    except Denied as refused:
        denied = refused
        use = "used" if refused.code == "key_used" else use
    return Judgement(inbound, claims, _is_proven(inbound, gateway), admission, denied, use)


def _gateway(config: Config) -> Gateway:
    audience = Audience(config.keys.audience, config.keys.audience_required)
    native = Native(config.keys.clock_skew_seconds, audience)
    ring = RingFile(config.data).load()
    return Gateway((native,), ring, MemoryReplaySet(1), RevocationTable(), BudgetBook(), config.budgets)


def _inbound(url: str, method: str | None, source: str | None, headers: tuple[str, ...], gateway: Gateway) -> Inbound:
    """The request to judge: what the options say, and for the rest what the key asks for."""
    shown = redact(url)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigInvalid(f"URL {shown!r}: must start with http:// or https:// and a host")
    target = ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()
    given = {"host": parts.netloc} | dict(_header(text) for text in headers)
    now, tls = time.time(), parts.scheme == "https"
    try:
        claims = _claims(Inbound("GET", target, _pairs(given), now=now), gateway)
    except Denied as denied:
        raise ConfigInvalid(f"URL {shown!r}: {denied.detail}") from None
    if claims is not None:
        method = method or (_METHOD_OF[claims.ops[0]] if claims.ops else None)
        source = source or _first_address(claims)
        given = _fitting(claims) | given
    try:
        peer = plain_address(source or "127.0.0.1")
    except ValueError:
        raise ConfigInvalid(f"--from {source!r}: must be an IP address") from None
    return Inbound((method or "GET").upper(), target, _pairs(given), now=now, peer=peer, tls=tls)


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if not found:
        raise ConfigInvalid(f"--header {redact(text)!r}: must be written 'NAME: VALUE'")
    return found[1].lower(), found[2].strip()


def _pairs(headers: dict[str, str]) -> Headers:
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def _first_address(claims: Claims) -> str | None:
    networks = as_list(claims.ip)
    return networks[0].partition("/")[0] if networks else None


def _fitting(claims: Claims) -> dict[str, str]:
    """Headers that fit what the key asks of a request."""
    fitting = {name.lower(): value for name, value in claims.headers.items()}
    types = as_list(claims.type)
    if types:
        fitting.setdefault("content-type", types[0].replace("*", "x"))
    return fitting


def _claims(inbound: Inbound, gateway: Gateway) -> Claims | None:
    """What the key says, proven or not; None where that cannot be read."""
    try:
        return unproven(recognise(inbound, gateway.schemes).text)
    except Denied:
        return None


def _is_proven(inbound: Inbound, gateway: Gateway) -> bool:
    """Whether the signature holds; a key may be refused before it is looked at, or for another reason after."""
    try:
        credential = recognise(inbound, gateway.schemes)
        credential.scheme.verify(inbound, credential, gateway.keys)
    except Denied as denied:
        # Claims that can be read were refused as such: `verify` reads none before the signature holds.
        return denied.code == "key_malformed" and _claims(inbound, gateway) is not None
    return True


def _refuse_read_only(config: Config, admission: Admission) -> None:
    """What the store refuses after the gate: a write to a bucket that the settings make read-only."""
    intent = admission.intent
    if intent.operation not in ("write", "delete") or intent.key is None:
        return
    bucket = config.buckets.get(intent.key.bucket)
    if bucket is not None and bucket.read_only:
        raise Denied("operation_not_allowed", READ_ONLY)


def _ask_running(config: Config, admission: Admission) -> Use:
    """Whether a use is left, as far as the running gateway tells. Raises what it refuses for the use's sake."""
    running = holder(config.data)
    url = _door(running.addresses, admission.grant) if running else None
    if url is None or admission.intent.operation not in ("read", "list"):
        return "unknown"
    code = _head(url, admission.inbound)
    if code in ("key_used", "replay_unavailable"):
        raise Denied(code)
    # Within the window a used key opens again for whoever used it: that it opens says nothing then.
    return "unused" if code in _ADMITTED_FIRST and not admission.grant.window else "unknown"


def _door(addresses: list[str], grant: Grant) -> str | None:
    """Where to ask. A key for TLS alone would be refused at a plain listener, whatever its uses."""
    return next((url for url in doors(addresses) if url.startswith("https://") or not grant.tls_only), None)


def _head(url: str, inbound: Inbound) -> str | None:
    """The code of the refusal that a HEAD meets, None where it is answered, "" where nothing can be said."""
    asked = connection(url, _SECONDS, verified=False)
    try:
        headers = {name.decode(): value.decode("latin-1") for name, value in inbound.headers}
        asked.request("HEAD", inbound.target.decode("latin-1"), headers=headers)
        answer = asked.getresponse()
        return answer.headers.get("X-Valet-Error", None if answer.status in (200, 304) else "")
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    finally:
        asked.close()
