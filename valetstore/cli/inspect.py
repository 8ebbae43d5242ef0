"""`valetstore inspect`: what a key says in plain words, and whether this gateway would admit it now."""

import asyncio
import http.client
import time
from typing import Final
from urllib.parse import urlsplit

import click
import msgspec

from valetstore.cli.options import Settings, json_option, print_json, settings_options
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.encoding import http_date
from valetstore.errors import ConfigInvalid, Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission
from valetstore.grants.native import Audience, Claims, Native, unproven
from valetstore.grants.networks import plain_address
from valetstore.grants.recognise import recognise
from valetstore.inbound import Headers, Inbound
from valetstore.keys.ringfile import RingFile
from valetstore.replay.memory import MemoryReplaySet
from valetstore.units import show_duration, show_size

_METHOD_OF: Final = {"read": "GET", "list": "GET", "write": "PUT", "delete": "DELETE", "admin": "POST"}

MEND: Final = {
    "key_missing": "Take the whole URL, with its query; in a shell, put it in single quotes.",
    "key_malformed": "Take the whole URL; if the key is your own, compare its claims with docs/KEYS.md.",
    "key_ambiguous": "Send the key in one place: the query or the Authorization header.",
    "signature_mismatch": "Sign with a key of this ring (`valetstore keys list`), and leave the URL as it was signed.",
    "key_not_yet_valid": "Wait, or look at the clocks of the signer and of this machine.",
    "key_expired": "Sign a new one; if it should still be valid, look at the clocks.",
    "key_revoked": "Sign a new one with a signing key that is not retired.",
    "key_used": "Sign a new one; a single-use key opens once.",
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


@click.command("inspect")
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
    otherwise. A single-use key for reading is asked about at the running gateway with HEAD, which uses nothing up.
    Exit status 0 admitted, 1 refused.
    """
    config = settings.load()
    gateway = _gateway(config)
    inbound = _inbound(url, method, source, headers, gateway)
    claims = _claims(inbound, gateway)
    denied: Denied | None = None
    admission: Admission | None = None
    try:
        admission = asyncio.run(gateway.admit(inbound))
        if admission.use is not None and admission.intent.operation == "read":
            _ask_running(config, inbound)
    except Denied as refused:
        denied = refused
    if as_json:
        print_json(_as_json(inbound, claims, admission, denied))
    else:
        _tell(inbound, claims, admission, denied)
    return 1 if denied else 0


def _gateway(config: Config) -> Gateway:
    audience = Audience(config.keys.audience, config.keys.audience_required)
    native = Native(config.keys.clock_skew_seconds, audience)
    return Gateway((native,), RingFile(config.data).load(), MemoryReplaySet(1))


def _inbound(url: str, method: str | None, source: str | None, headers: tuple[str, ...], gateway: Gateway) -> Inbound:
    """The request to judge: what the options say, and for the rest what the key asks for."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigInvalid(f"URL: must start with http:// or https:// and a host, not {url.split('?')[0]!r}")
    target = ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()
    given = {"host": parts.netloc} | dict(_header(text) for text in headers)
    now, tls = time.time(), parts.scheme == "https"
    claims = _claims(Inbound("GET", target, _pairs(given), now=now), gateway)
    if claims is not None:
        method = method or _METHOD_OF[claims.ops[0]]
        source = source or _first_address(claims)
        given = _fitting(claims) | given
    try:
        peer = plain_address(source or "127.0.0.1")
    except ValueError:
        raise ConfigInvalid(f"--from {source!r}: must be an IP address") from None
    return Inbound((method or "GET").upper(), target, _pairs(given), now=now, peer=peer, tls=tls)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigInvalid("--header: must be written 'NAME: VALUE'")
    return name.strip().lower(), value.strip()


def _pairs(headers: dict[str, str]) -> Headers:
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def _first_address(claims: Claims) -> str | None:
    networks = [claims.ip] if isinstance(claims.ip, str) else claims.ip or []
    return networks[0].partition("/")[0] if networks else None


def _fitting(claims: Claims) -> dict[str, str]:
    """Headers that fit what the key asks of a request."""
    fitting = {name.lower(): value for name, value in claims.headers.items()}
    types = [claims.type] if isinstance(claims.type, str) else claims.type or []
    if types:
        fitting.setdefault("content-type", types[0].replace("*", "x"))
    return fitting


def _claims(inbound: Inbound, gateway: Gateway) -> Claims | None:
    """What the key says, proven or not; None where that cannot be read."""
    try:
        return unproven(recognise(inbound, gateway.schemes).text)
    except Denied:
        return None


def _ask_running(config: Config, inbound: Inbound) -> None:
    """Raise `key_used` where the gateway that runs says so; silence where none does."""
    running = holder(config.data)
    url = next((u for u in running.addresses if u.startswith("http://")), None) if running else None
    if url is None:
        return
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        headers = {name.decode(): value.decode("latin-1") for name, value in inbound.headers}
        connection.request("HEAD", inbound.target.decode("latin-1"), headers=headers)
        if connection.getresponse().headers.get("X-Valet-Error") == "key_used":
            raise Denied("key_used")
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def _tell(inbound: Inbound, claims: Claims | None, admission: Admission | None, denied: Denied | None) -> None:
    if claims is not None:
        proven = denied is None or denied.code not in {"signature_mismatch", "key_malformed", "key_ambiguous"}
        click.echo("The key says:" if proven else "The key says (its signature is not proven):")
        for line in _in_words(claims, inbound.now):
            click.echo(f"  {line}")
    if admission is not None:
        click.echo(f"Signing key {admission.grant.signing_key}, key identity {admission.grant.identity.hex()}.")
    if denied is None:
        click.echo(f"{inbound.method} {_shown_path(inbound)}: admitted.")
        return
    click.echo(f"{inbound.method} {_shown_path(inbound)}: refused, {denied.code} ({denied.status}).")
    click.echo(f"  {denied.text}")
    for name, value in denied.evidence.items():
        if name in ("reason", "signing_key") and value:
            click.echo(f"  {name.replace('_', ' ')}: {value}")
    if denied.code in MEND:
        click.echo(f"  {MEND[denied.code]}")


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
        lines.append(f"{'once' if claims.uses == 1 else f'{claims.uses} times'}{window}")
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


def _as_json(
    inbound: Inbound, claims: Claims | None, admission: Admission | None, denied: Denied | None
) -> dict[str, object]:
    about: dict[str, object] = {
        "admitted": denied is None,
        "method": inbound.method,
        "path": _shown_path(inbound),
        "claims": None if claims is None else msgspec.to_builtins(claims),
    }
    if admission is not None:
        about |= {"signing_key": admission.grant.signing_key, "key_identity": admission.grant.identity.hex()}
    if denied is not None:
        about |= {
            "code": denied.code,
            "status": denied.status,
            "reason": denied.text,
            "mend": MEND.get(denied.code, ""),
        }
    return about


def _shown_path(inbound: Inbound) -> str:
    return inbound.raw_path.decode("latin-1")
