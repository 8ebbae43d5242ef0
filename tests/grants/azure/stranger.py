"""Strangers' signers: Azure's own SDK, which signs the newest version, and a small one by hand for every other."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
import pytest
from azure.storage.blob import generate_account_sas, generate_blob_sas, generate_container_sas

from valetstore.errors import Denied
from valetstore.grants.azure import Azure
from valetstore.grants.grant import Intent, Profile, Proof
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.policy.request import enforce

HOST = "127.0.0.1:9000"
ACCOUNT = "valetaccount"
BASE = f"http://{HOST}/{ACCOUNT}"
NOW = 1_800_000_000
END = "2027-01-15T09:00:00Z"  # an hour after NOW
VERSIONS = ("2015-04-05", "2018-03-28", "2018-11-09", "2020-02-10", "2020-12-06", "2022-11-02", "2099-01-01")


_SECRETS: dict[str, bytes] = {}


def secret(name: str = "key1") -> bytes:
    """An account key; an account has several."""
    return _SECRETS.setdefault(name, secrets.token_bytes(64))


def account_key(name: str = "key1") -> str:
    """An account key as users hold it."""
    return base64.b64encode(secret(name)).decode()


@cache
def ring(profile: Profile | None = None) -> KeyRing:
    """A ring with two keys of one account, and one of another account."""
    made = [("key1", ACCOUNT), ("key2", ACCOUNT), ("other", "otheraccount")]
    return KeyRing(
        record_of(name, "HMAC", profile or Profile(), kid=account, secret=secret(name), scheme="azure")
        for name, account in made
    )


def retired(at: int) -> KeyRing:
    """The same, its first key retired."""
    records = [key.record for key in ring()]
    return KeyRing([msgspec.structs.replace(records[0], retires_at=at), *records[1:]])


# --- by hand ------------------------------------------------------------------------------------------------------


def by_hand(
    values: Mapping[str, str],
    canonical: str = "/photos/cat.jpg",
    *,
    key: bytes | None = None,
    snapshot: str = "",
    account: str = ACCOUNT,
) -> str:
    """The query of a SAS, its string laid out by `sv`; an account SAS where there is `ss`."""
    said = {"sv": "2022-11-02", **values}
    version = said["sv"]

    def line(name: str) -> str:
        return said.get(name, "") + "\n"

    if "ss" in said:
        text = account + "\n" + line("sp") + line("ss") + line("srt") + line("st") + line("se") + line("sip")
        text += line("spr") + line("sv") + (line("ses") if version >= "2020-12-06" else "")
    else:
        text = line("sp") + line("st") + line("se") + f"/blob/{account}{canonical}\n"
        text += line("si") + line("sip") + line("spr") + line("sv")
        text += line("sr") + snapshot + "\n" if version >= "2018-11-09" else ""
        text += line("ses") if version >= "2020-12-06" else ""
        text += line("rscc") + line("rscd") + line("rsce") + line("rscl") + said.get("rsct", "")
    return query_of({**said, "sig": mac(text, key)})


def mac(text: str, key: bytes | None = None) -> str:
    """The signature of a text."""
    return base64.b64encode(hmac.new(key or secret(), text.encode(), hashlib.sha256).digest()).decode()


def query_of(values: Mapping[str, str]) -> str:
    """Parameters, percent-encoded once."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in values.items())


def url_by_hand(name: str = "cat.jpg", /, **values: str) -> str:
    """The URL of a blob with a SAS for it, by default for reading, until END."""
    query = by_hand({"sp": "r", "se": END, "sr": "b", **values}, f"/photos/{name}")
    return f"{BASE}/photos/{quote(name, safe='/~')}?{query}"


# --- by Azure's SDK -----------------------------------------------------------------------------------------------


def blob_url(name: str = "cat.jpg", permission: str = "r", container: str = "photos", **more: Any) -> str:
    """A blob's URL with a SAS of the SDK's."""
    more.setdefault("expiry", END)
    more.setdefault("account_key", account_key())
    query = generate_blob_sas(ACCOUNT, container, name, permission=permission, **more)
    return f"{BASE}/{container}/{quote(name, safe='/~')}?{query}"


def container_url(
    name: str = "cat.jpg", permission: str = "r", container: str = "photos", further: str = "", **more: Any
) -> str:
    """A URL of a blob (or, without a name, of the container) with a SAS of the SDK's for the container."""
    more.setdefault("expiry", END)
    more.setdefault("account_key", account_key())
    query = generate_container_sas(ACCOUNT, container, permission=permission, **more)
    return f"{BASE}/{container}" + (f"/{quote(name, safe='/~')}" if name else "") + f"?{further}{query}"


def account_url(
    path: str = "/photos/cat.jpg", permission: str = "r", resource_types: str = "sco", further: str = "", **more: Any
) -> str:
    """Any URL with a SAS of the SDK's for the account."""
    more.setdefault("expiry", END)
    more.setdefault("account_key", account_key())
    query = generate_account_sas(ACCOUNT, resource_types=resource_types, permission=permission, **more)
    return f"{BASE}{quote(path, safe='/~')}?{further}{query}"


# --- requests -----------------------------------------------------------------------------------------------------


def arriving(method: str, url: str, headers: Mapping[str, str] | None = None, **more: Any) -> Inbound:
    """A request as it arrives, at NOW unless told otherwise."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    pairs = {"Host": parts.netloc, **(headers or {})}
    raw = tuple((name.encode(), value.encode("latin-1")) for name, value in pairs.items())
    more.setdefault("now", NOW)
    return Inbound(method, target.encode(), raw, **more)


def real_now() -> float:
    """The clock, for signers that read it themselves."""
    return datetime.now(UTC).timestamp()


def judge(inbound: Inbound, keys: KeyRing | None = None) -> Proof:
    """What the scheme says of a request."""
    scheme = Azure()
    return scheme.verify(inbound, recognise(inbound, [scheme]), keys or ring())


def admit(inbound: Inbound, keys: KeyRing | None = None) -> tuple[Intent, Proof]:
    """As the gate does it, but for revocations and uses. Raises Denied."""
    intent, proof = Azure().intent(inbound), judge(inbound, keys)
    enforce(proof.grant.narrowed_by(proof.limits), intent, inbound)
    return intent, proof


def refusal(inbound: Inbound, keys: KeyRing | None = None) -> Denied:
    """What it is refused with."""
    with pytest.raises(Denied) as caught:
        admit(inbound, keys)
    return caught.value


def detail(denied: Denied) -> str:
    """What is said beside Azure's AuthenticationFailed."""
    assert denied.said is not None
    assert denied.said.code == "AuthenticationFailed"
    return dict(denied.said.members)["AuthenticationErrorDetail"]


def parameters(url: str) -> dict[str, str]:
    """The query of a URL, decoded, `+` as `+`."""
    return dict(parse_qsl(urlsplit(url).query.replace("+", "%2B"), keep_blank_values=True))


def with_parameters(url: str, /, **changes: str | None) -> str:
    """The URL with these parameters changed, or taken away where they are None."""
    found: dict[str, str | None] = {**parameters(url), **changes}
    return url.partition("?")[0] + "?" + query_of({name: value for name, value in found.items() if value is not None})
