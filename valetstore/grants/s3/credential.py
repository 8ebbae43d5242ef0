"""What a V4 credential says of itself: `<access key id>/<date>/<region>/s3/aws4_request`, and each fault in S3's words.

Sources: Amazon S3 API reference, "Error responses"; the sentences are those that S3 sends.
"""

import re
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.grants.s3.rules import Rules
from valetstore.grants.sigv4 import AWS
from valetstore.keys.vendor import ACCESS_KEY_ID

_DATE: Final = re.compile(r"[0-9]{8}", re.ASCII)
_REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_CREDENTIAL: Final = re.compile(
    f"({ACCESS_KEY_ID.pattern})/({_DATE.pattern})/({_REGION.pattern})/{AWS.service}/{AWS.terminator}", re.ASCII
)
_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:;[A-Za-z0-9!#$%&'*+.^_`|~-]+)*", re.ASCII)


class Words(NamedTuple):
    """The code under which S3 reports faults of this kind of key, and how its sentences begin."""

    code: str
    beginning: str

    def fault(self, sentence: str, **members: str) -> Denied:
        """The whole sentence is given: a refusal for the shape of a key."""
        return Denied("key_malformed", sentence).saying(self.code, sentence, 400, **members)

    def about(self, sentence: str, **members: str) -> Denied:
        """The same, for a sentence that goes on from this kind's beginning."""
        return self.fault(self.beginning + sentence, **members)


QUERY: Final = Words("AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; ")
HEADER: Final = Words("AuthorizationHeaderMalformed", "The authorization header is malformed; ")

_EXPECTED: Final = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'


class Credential(NamedTuple):
    """Who signed, on which day, for which region."""

    access_key_id: str
    date: str
    region: str


def credential_of(text: str, rules: Rules, words: Words) -> Credential:
    """A credential and its scope, which must be this gateway's. Raises `key_malformed`."""
    found = _CREDENTIAL.fullmatch(text)
    if found is None or (rules.region and found[3] != rules.region):
        raise _fault_of(text, rules, words)
    return Credential(found[1], found[2], found[3])


def _fault_of(text: str, rules: Rules, words: Words) -> Denied:
    """The first thing that is wrong with what is no credential for this gateway."""
    parts = text.split("/")
    if len(parts) != 5 or not ACCESS_KEY_ID.fullmatch(parts[0]):
        return words.about(_EXPECTED)
    _, date, region, service, terminator = parts
    if not _DATE.fullmatch(date):
        said = f'incorrect date format "{date}". This date in the credential must be in the format "yyyyMMdd".'
        return words.about(said)
    if not _REGION.fullmatch(region) or (rules.region and region != rules.region):
        expected = rules.region or "us-east-1"
        return words.about(f"the region '{region}' is wrong; expecting '{expected}'", Region=expected)
    if service != AWS.service:
        return words.about(f'incorrect service "{service}". This endpoint belongs to "{AWS.service}".')
    return words.about(f'incorrect terminal "{terminator}". This endpoint uses "{AWS.terminator}".')


def mismatch(access_key_id: str, provided: str, text: bytes, reason: str, **members: str) -> Denied:
    """SignatureDoesNotMatch, with what S3 shows: all of it the client's own request, nothing made with the secret."""
    return Denied("signature_mismatch", reason=reason).saying(
        "SignatureDoesNotMatch",
        "",
        0,
        AWSAccessKeyId=access_key_id,
        StringToSign=text.decode("utf-8", "replace"),
        SignatureProvided=provided,
        StringToSignBytes=text.hex(" "),
        **members,
    )


def shown(canonical: bytes) -> dict[str, str]:
    """The canonical request as members of a SignatureDoesNotMatch."""
    return {"CanonicalRequest": canonical.decode("utf-8", "replace"), "CanonicalRequestBytes": canonical.hex(" ")}


def check_day(credential: Credential, stamp: str, words: Words) -> None:
    """The credential must be for the day of the date. Raises `key_malformed`."""
    if credential.date != stamp[:8]:
        said = f'Invalid credential date "{credential.date}". This date is not the same as X-Amz-Date: "{stamp[:8]}".'
        raise words.fault(said if words is QUERY else words.beginning + said)


def signed_names(text: str) -> tuple[str, ...] | None:
    """The names in SignedHeaders, or None where they are no header names."""
    return tuple(text.split(";")) if _NAMES.fullmatch(text) else None
