"""A key as people paste it: a whole URL, a target, a header line, a form or cookies as JSON, a bare
token. Which key is it?

Rule 1: it is proven by the very `recognise` and `verify` that serve, on what was pasted: host and target as they are.
Rule 2: neither time nor policy is judged. Whether the key is still good is asked by whoever wants to know.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Proof
from valetstore.grants.recognise import recognise
from valetstore.grants.scheme import Scheme
from valetstore.inbound import Form, Headers, Inbound
from valetstore.keys.ring import KeyRing

BYTES_MAX: Final = 32_768
"""More than any head the gateway reads."""

METHODS: Final = ("GET", "PUT", "HEAD", "DELETE", "POST")
"""What a dialect that signs the method may have signed, most likely first."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", re.ASCII)
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]+)")
_CREDENTIALS: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]* +\S.*")
_QUERY: Final = re.compile(r"\??[^\s/?=:]+=\S*")
_QUOTES: Final = {"'": "'", '"': '"', "`": "`", "<": ">"}
# What a browser shows decoded. Everything else stays as it is: it may be signed so.
_DECODED: Final = re.compile(r"[^\x21-\x7e]+")

_FILE: Final = "file"

_HELP: Final = "Paste the whole URL, an Authorization or Cookie line, JSON with a form or cookies, or the token."


class Pasted(NamedTuple):
    """What was pasted, as the part of a request it is; `host` is "" where none was given."""

    target: bytes
    host: str = ""
    tls: bool = False
    headers: Headers = ()
    form: Form | None = None

    @property
    def methods(self) -> Sequence[str]:
        """What it may be part of, most likely first."""
        return METHODS if self.form is None else ("POST",)

    def request(self, method: str, now: float) -> Inbound:
        """The request it would be part of. Raises `target_invalid`."""
        host = ((b"host", self.host.encode("latin-1", "replace")),) if self.host else ()
        # A POST that is no form begins a resumable upload of Google's: this header is signed, and always the same.
        begins = ((b"x-goog-resumable", b"start"),) if method == "POST" and self.form is None else ()
        return Inbound(method, self.target, host + self.headers + begins, now=now, tls=self.tls, form=self.form)


class Handed(msgspec.Struct):
    """What signers return that is more than a URL: a POST form's `fields`, or cookies, by name."""

    url: str
    fields: dict[str, str] = {}
    cookies: dict[str, str] = {}

    @property
    def form(self) -> Form | None:
        """The fields as a browser sends them, names in lower case, with a file after them; None for cookies."""
        if self.cookies:
            return None
        fields = [(name.lower(), value) for name, value in self.fields.items() if name.lower() != _FILE]
        return (*fields, (_FILE, _FILE))

    @property
    def cookie(self) -> str:
        """The cookies as one header's value, "" where there are none."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def read_handed(text: str) -> Handed:
    """JSON with `url`, and `fields` or `cookies`. Raises ValueError."""
    try:
        handed = msgspec.json.decode(text, type=Handed)
    except msgspec.DecodeError as error:
        raise ValueError("not a form or cookies as JSON") from error
    if bool(handed.fields) == bool(handed.cookies):
        raise ValueError("neither a form nor cookies")
    return handed


def read(text: str) -> Pasted:
    """Take a pasted text apart. Raises `key_missing`, `key_malformed`."""
    text = _bare(text)
    if not text:
        raise Denied("key_missing", f"Nothing was pasted. {_HELP}")
    if len(text) > BYTES_MAX:
        raise Denied("key_malformed", f"It is longer than {BYTES_MAX} characters.")
    if text.startswith("{"):
        return _handed(text)
    if re.match("https?://", text, re.IGNORECASE):
        return _url(text)
    if text.startswith("/"):
        return Pasted(_target(text))
    if _TOKEN.fullmatch(text):
        return Pasted(b"/", headers=((b"authorization", b"Bearer " + text.encode("ascii")),))
    if _QUERY.fullmatch(text):
        return Pasted(_target("/?" + text.removeprefix("?")))
    if found := _HEADER.fullmatch(text):
        return _header(found[1], found[2])
    if _CREDENTIALS.fullmatch(text):
        return _header("authorization", text)
    raise Denied("key_malformed", f"There is no key in what was pasted. {_HELP}")


def prove(text: str, schemes: Sequence[Scheme], keys: KeyRing, now: float) -> Proof:
    """The proof of the one key in a pasted text; `now` only fills the request in.

    Raises `key_missing`, `key_malformed`, `key_ambiguous`, `signature_mismatch`, `target_invalid`.
    """
    pasted = read(text)
    first: Denied | None = None
    for method in pasted.methods:
        inbound = pasted.request(method, now)
        try:
            credential = recognise(inbound, schemes)
            return credential.scheme.verify(inbound, credential, keys)
        except Denied as denied:
            if first is None:
                first = denied
            # Only a signature may hold with another method; what is not there or malformed stays so.
            if denied.code != "signature_mismatch" or not credential.scheme.signs_method:
                break
    assert first is not None
    if first.code == "signature_mismatch" and not first.detail:
        first.detail = "Take it exactly as it was signed, and for the gateway whose signing keys these are."
    elif first.code == "key_missing" and not first.detail:
        first.detail = f"There is no key in what was pasted. {_HELP}"
    raise first


def _bare(text: str) -> str:
    """Without what a terminal, a mail or a shell puts around it."""
    text = text.strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text


def _url(text: str) -> Pasted:
    try:
        parts = urlsplit(text)
        host = parts.netloc
    except ValueError:
        host = ""
    if not host:
        raise Denied("key_malformed", "The URL has no host.")
    # Not from the parts: what is signed is the text, to the last empty query.
    rest = text[text.index("//") + 2 :][len(host) :]
    return Pasted(_target(rest if rest.startswith("/") else f"/{rest}"), host, text[:5].lower() == "https")


def _handed(text: str) -> Pasted:
    try:
        handed = read_handed(text)
    except ValueError:
        raise Denied(
            "key_malformed", "JSON has `url`, and a form's `fields` or `cookies`, as signers return them."
        ) from None
    headers = _header("cookie", handed.cookie).headers if handed.cookie else ()
    return _url(handed.url)._replace(form=handed.form, headers=headers)


def _target(text: str) -> bytes:
    """The part that a client sends, in bytes as a browser would."""
    sent = text.partition("#")[0]
    return _DECODED.sub(lambda run: quote(run[0], safe="", errors="replace"), sent).encode("ascii")


def _header(name: str, value: str) -> Pasted:
    return Pasted(b"/", headers=((name.lower().encode("ascii"), value.strip().encode("latin-1", "replace")),))
