"""Signing keys of CloudFront as its users know them: a key pair id and a private key in PEM."""

from pathlib import Path
from typing import Final

from valetstore.cli.options import read_file
from valetstore.cli.vendors.maker import Given, Made, Maker, Place, checked, needed
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.material import public_pem
from valetstore.keys.pairs import new_pair, openssl_pem, public_half
from valetstore.keys.ring import KeyRecord
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import CLOUDFRONT, ECDSA, RSA, check_key_pair_id, new_key_pair_id


def _create(name: str, profile: Profile, given: Given, _place: Place) -> Made:
    kid = given.key_pair_id or new_key_pair_id()
    checked("--key-pair-id", check_key_pair_id, kid)
    algorithm = ECDSA if given.ec else RSA
    pair = new_pair(algorithm)
    record = record_of(name, algorithm, profile, kid=kid, public_key=public_pem(pair), scheme=CLOUDFRONT)
    # The command line of AWS, version 1, reads PKCS #1 alone.
    pem = openssl_pem(pair)
    return Made(record, pem, pem)


def _take(name: str, profile: Profile, given: Given) -> KeyRecord:
    needed(CLOUDFRONT, {"--public-key": given.public_key, "--key-pair-id": given.key_pair_id})
    assert given.public_key is not None
    assert given.key_pair_id is not None
    kid = checked("--key-pair-id", check_key_pair_id, given.key_pair_id)
    data = read_file("--public-key", given.public_key)
    try:
        algorithm, public = public_half(data, (RSA, ECDSA))
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--public-key {given.public_key}: {error}") from None
    return record_of(name, algorithm, profile, kid=kid, public_key=public, scheme=CLOUDFRONT)


def _lines(made: Made, place: Place, file: Path | None) -> list[str]:
    record = made.record
    what = "an RSA key" if record.algorithm == RSA else "an ECDSA key (P-256)"
    return [
        f"# Signing key {record.name} (CloudFront), {what}; what is signed is a URL or a policy for {place.likely}/...",
        f"key pair id: {record.kid}",
        f"private key file: {file}",
    ]


MAKER: Final = Maker(_create, _take, _lines, file_member="private_key_file")
