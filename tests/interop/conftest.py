"""What the tests of clients share: a gateway over HTTP, one over TLS, buckets of their own."""

from collections.abc import Iterator

import pytest

from tests.interop.house import House, new_bucket, opened


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway over HTTP."""
    with opened(tmp_path_factory.mktemp("http")) as running:
        yield running


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway over TLS, with a certificate of its own for 127.0.0.1."""
    with opened(tmp_path_factory.mktemp("tls"), tls=True) as running:
        yield running


@pytest.fixture
def bucket() -> str:
    """The name of a bucket that is not there yet: the first upload makes it."""
    return new_bucket()
