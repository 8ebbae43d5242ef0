"""A ring is whole or it is refused: what is wrong with a signing key is found when it is loaded, and named."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.minting import minter
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Budget, Profile
from valetstore.keys.material import public_pem
from valetstore.keys.ring import KeyRecord, KeyRing, limits_of
from valetstore.keys.ringfile import new_record, record_of

SECRET = bytes(range(32))


def record(**more: Any) -> KeyRecord:
    return msgspec.structs.replace(record_of("app", "HS256", Profile(), secret=SECRET), **more)


def test_a_ring_finds_its_keys_by_scheme_and_key_id_and_by_name() -> None:
    foreign = record_of("s3", "HMAC", Profile(), kid="app", secret=b"s" * 40, scheme="s3")
    ring = KeyRing([record(), foreign, record(id="3", name="b", kid="B")], 7)
    assert len(ring) == 3
    assert ring.generation == 7
    assert [key.name for key in ring] == ["app", "s3", "b"]
    for scheme, kid, name in (("native", "app", "app"), ("s3", "app", "s3"), ("native", "B", "b")):
        found = ring.find(scheme, kid)
        assert found is ring.named(name)
        assert found
        assert found.name == name
    assert ring.find("native", "b") is ring.find("s3", "B") is ring.named("B") is None


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([record(), record(id="2", kid="other")], "'app': the name is used twice"),
        ([record(), record(id="2", name="b")], "'b': the key id 'app' is used twice"),
        ([record(name="")], "name has 1 to 64"),
        ([record(name="../x")], "name has 1 to 64"),
        ([record(name="a/b")], "name has"),
        ([record(name=".a")], "name has"),
        ([record(name="a" * 65)], "name has"),
        ([record(name="\u00e9")], "name has"),
        ([record(name="a\n")], "name has"),
        ([record(algorithm="none")], "algorithm 'none': must be one of HS256, EdDSA, ES256, RS256"),
        ([record(algorithm="HS512")], "must be one of"),
        ([record(secret=None)], "HS256 needs secret"),
        ([record(public_key="x")], "no public-key"),
        ([record(secret="AAAA")], "3 bytes; HS256 needs 32"),
        ([record(secret="A===")], "not unpadded base64url"),
        ([record(algorithm="EdDSA")], "EdDSA needs public-key, and no secret"),
        ([record(algorithm="EdDSA", secret=None, public_key="x")], "PUBLIC KEY"),
        (
            [record(algorithm="RS256", secret=None, public_key=minter("ES256").record.public_key)],
            "is for ES256, not RS256",
        ),
    ],
)
def test_a_record_that_is_wrong_is_named(records: list[KeyRecord], why: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"signing key .*{why}") as caught:
        KeyRing(records)
    assert str(record().secret) not in str(caught.value)


def test_a_public_key_too_weak_or_on_another_curve_is_refused() -> None:
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())):
        for algorithm in ("RS256", "ES256"):
            weak = record_of("app", algorithm, Profile(), public_key=public_pem(key))
            with pytest.raises(ConfigInvalid, match=r"takes 2048|needs P-256"):
                KeyRing([weak])


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (Profile(operations=()), "operations: must be some of admin, delete"),
        (Profile(operations=("fly",)), "operations"),  # type: ignore[arg-type]
        (Profile(prefixes=("/photos",)), "prefixes: '/photos': must start and end with a slash"),
        (Profile(prefixes=("photos/",)), "prefixes"),
        (Profile(prefixes=("",)), "prefixes"),
        (Profile(types=("image",)), "type 'image'"),
        (Profile(types=("*",)), r"type '\*'"),
        (Profile(networks=("10.0.0.1/8",)), "networks: .* must be a network"),
        (Profile(networks=("x",)), "networks"),
        (Profile(networks=("fe80::1%eth0",)), "networks: .*zone"),
        (Profile(single_use=("admin",)), "single-use: 'admin': must be some of delete, list, read, write"),
        (Profile(single_use=("write", "fly")), "single-use: 'fly'"),  # type: ignore[arg-type]
        (Profile(uses=0), "uses: 0: must be 1 to"),
        (Profile(uses=2**53 + 1), "uses: 9007199254740993"),
        (Profile(length_bytes_min=5, length_bytes_max=4), "length-bytes-min: is larger"),
    ],
)
def test_a_profile_that_is_wrong_names_its_member(profile: Profile, why: str) -> None:
    with pytest.raises(ConfigInvalid, match=why):
        limits_of(profile)
    with pytest.raises(ConfigInvalid, match=f"signing key 'app': .*{why}"):
        KeyRing([record(profile=profile)])


def test_only_a_profile_without_limits_is_unconditional() -> None:
    assert limits_of(Profile()).unconditional
    assert limits_of(Profile(operations=("read",))).unconditional
    assert not limits_of(Profile(), retires_at=1).unconditional
    some: list[dict[str, Any]] = [
        {"prefixes": ("/a/",)},
        {"ttl_seconds_max": 1},
        {"length_bytes_min": 1},
        {"length_bytes_max": 0},
        {"types": ("a/b",)},
        {"networks": ("::/0",)},
        {"create_only": True},
        {"https": True},
        {"single_use": ("read",)},
        {"uses": 1},
        {"budget": Budget(transfers=1)},
    ]
    assert {name for one in some for name in one} | {"operations"} == set(Profile.__struct_fields__)
    for one in some:
        assert not limits_of(Profile(**one)).unconditional


def test_what_a_profile_says_of_uses_and_budgets_becomes_its_limits() -> None:
    budget = Budget(2.5, transfers=3)
    limits = limits_of(Profile(single_use=("write", "read"), uses=3, budget=budget))
    assert (limits.single_use, limits.uses, limits.budget) == (frozenset({"write", "read"}), 3, budget)


def test_a_profile_reads_a_mapped_network_as_the_ipv4_it_is() -> None:
    assert limits_of(Profile(networks=("::ffff:192.0.2.0/120",))) == limits_of(Profile(networks=("192.0.2.0/24",)))


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA", "ES256"])
def test_new_keys_are_never_alike(algorithm: str) -> None:
    one, two = (new_record("app", algorithm, Profile())[0] for _ in range(2))
    assert one.id != two.id
    assert (one.secret, one.public_key) != (two.secret, two.public_key)
    assert one.kid == "app"


def test_an_unknown_algorithm_is_refused_before_a_key_is_made() -> None:
    with pytest.raises(ConfigInvalid, match="must be one of HS256"):
        new_record("app", "none", Profile())


def test_a_record_never_shows_more_than_it_is_asked() -> None:
    key = KeyRing([record()]).named("app")
    assert str(record().secret) not in repr(key)
