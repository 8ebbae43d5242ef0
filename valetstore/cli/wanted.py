"""What `valetstore sign` is asked for, whatever the dialect that says it."""

from typing import NamedTuple

from valetstore.signing import Terms

Pairs = tuple[tuple[str, str], ...]


class Asked(NamedTuple):
    """What is asked for in vendors' own terms; each dialect refuses those that it cannot say.

    `headers` are (lower-case name, value). `sigv2` is the older of two ways of signing (S3, Google). `post` is a form
    (S3, Google, Swift), `html` the form as a page. `resumable` begins an upload in chunks (Google). `account` and
    `permissions` are of a shared access signature (Azure): for the account, and its `sp` where METHOD does not say it.
    `cookie` asks for cookies (CloudFront). `hashed` is the hash of a signature (CloudFront, Swift).
    """

    sigv2: bool = False
    post: bool = False
    html: bool = False
    headers: Pairs = ()
    success_status: str | None = None
    success_redirect: str | None = None
    resumable: bool = False
    account: bool = False
    permissions: str | None = None
    cookie: bool = False
    hashed: str | None = None

    @property
    def given(self) -> str:
        """An option that was given; "" where none was."""
        return next(iter(self.options), "")

    @property
    def options(self) -> tuple[str, ...]:
        """All options that were given, as they are typed."""
        return tuple(option for name, option in OPTION_OF.items() if getattr(self, name))


OPTION_OF = {
    "sigv2": "--sigv2",
    "post": "--post",
    "html": "--html",
    "headers": "--signed-header",
    "success_status": "--success-status",
    "success_redirect": "--success-redirect",
    "resumable": "--resumable",
    "account": "--account-sas",
    "permissions": "--permissions",
    "cookie": "--cookie",
    "hashed": "--hash",
}
"""The option that gives each of them."""


class Wanted(NamedTuple):
    """What is to be signed; `expires` is in seconds, `path` as a user writes it (`/bucket/name`, not encoded)."""

    method: str
    path: str
    expires: int
    base_url: str
    terms: Terms
    asked: Asked
