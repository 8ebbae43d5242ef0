"""One use over an upload in parts: reserved by its create, spent by its complete, given back by its abort.

Whichever worker serves which step, and whatever is killed in between: of what one create's URL begins, one object is
published at most.
"""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import inspect
from tests.edge.s3.conftest import Clients
from tests.edge.s3.parts import BUCKET, Presigned
from tests.edge.wire import wait_until
from tests.gate import Answer, Gate, free_port
from tests.single.crowd import BROKEN, restart
from tests.single.test_crash import Tracer
from valetstore.grants.grant import Profile

ONCE = Profile(single_use=("write",))
V4 = "s3v4"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Two workers; their gate is inspected at the end."""
    with Gate(tmp_path_factory.mktemp("once"), args=("--workers", "2")) as running:
        yield running
        inspect(running)


@pytest.fixture(scope="module")
def clients(gate: Gate) -> Clients:
    """Clients of it."""
    return Clients(gate)


@pytest.fixture(scope="module")
def once(clients: Clients) -> Any:
    """A client whose signing key makes every write single-use."""
    return clients(profile=ONCE, signature_version=V4)


@pytest.fixture
def upload(gate: Gate, once: Any, request: pytest.FixtureRequest) -> Presigned:
    """An upload of such a key that is not begun yet."""
    return Presigned(gate, once, f"once/{request.node.name[:80]}")


def is_used(answer: Answer) -> bool:
    """Whether a key was refused since it is used up, in S3's words and in ours."""
    assert (answer.status, answer.code) == (403, "key_used"), answer
    assert b"<Code>AccessDenied</Code>" in answer.body
    return True


def begun(upload: Presigned, body: bytes = b"whole") -> str:
    """Begin it and send its one part; the URL that began it."""
    url = upload.create()
    assert upload.begin(url).status == 200
    assert upload.part(1, body).status == 200
    return url


def found(clients: Clients, upload: Presigned) -> bytes | None:
    """The object that stands there now."""
    client = clients()
    try:
        data: bytes = client.get_object(Bucket=BUCKET, Key=upload.key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    return data


def test_one_create_publishes_one_object(clients: Clients, upload: Presigned) -> None:
    url = begun(upload)
    assert is_used(upload.begin(url))
    first = upload.complete()
    assert first.status == 200, first
    assert is_used(upload.begin(url))
    assert upload.complete().body == first.body  # a client that lost the answer
    clients().delete_object(Bucket=BUCKET, Key=upload.key)
    assert upload.complete().status == 404
    assert is_used(upload.begin(url))
    assert found(clients, upload) is None


def test_of_many_creates_by_one_url_one_begins(gate: Gate, upload: Presigned) -> None:
    url = upload.create()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: gate.ask("POST", url), range(40)))
    assert sorted(answer.status for answer in answers) == [200] + [403] * 39


def test_an_upload_that_is_given_up_gives_the_use_back_whichever_worker_hears_of_it(upload: Presigned) -> None:
    url = begun(upload)
    for _ in range(6):
        assert is_used(upload.begin(url))
        assert upload.abort().status == 204
        assert upload.part(2, b"late").status == 404
        upload.etags = {1: '"0123456789abcdef0123456789abcdef"'}
        assert upload.complete().status == 404
        assert upload.abort().status == 404
        assert upload.begin(url).status == 200
    assert is_used(upload.begin(url))


def test_a_complete_that_is_refused_leaves_the_upload_as_it_was(clients: Clients, upload: Presigned) -> None:
    url = begun(upload)
    etags, upload.etags = upload.etags, {1: '"0123456789abcdef0123456789abcdef"'}
    for _ in range(4):
        assert upload.complete().status == 400
    upload.etags = etags
    assert upload.complete().status == 200
    assert is_used(upload.begin(url))
    assert found(clients, upload) == b"whole"


def test_of_a_complete_and_an_abort_at_once_one_is_done(clients: Clients, upload: Presigned) -> None:
    """Either there is an object and the use is spent, or there is none and the use is back."""
    with ThreadPoolExecutor(4) as pool:
        for turn in range(8):
            upload.key = f"once/either-{turn}"
            url = begun(upload)
            steps: list[Callable[[], Answer]] = [upload.complete, upload.abort, upload.complete, upload.abort]
            if turn % 2:
                steps.reverse()
            ends = [future.result() for future in [pool.submit(step) for step in steps]]
            done = [end.status for end in ends]
            again = upload.begin(url)
            if found(clients, upload) is None:
                assert 204 in done, done
                assert 200 not in done
                assert again.status == 200
            else:
                assert 200 in done, done
                assert 204 not in done
                assert is_used(again)


def test_of_many_completes_at_once_all_tell_of_one_object(upload: Presigned) -> None:
    begun(upload)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: upload.complete(), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1


def test_a_url_with_several_uses_begins_as_many_uploads(gate: Gate, clients: Clients) -> None:
    upload = Presigned(gate, clients(signature_version=V4), "once/several")
    url = upload.create(uses="2")
    for body in (b"first", b"second"):
        assert upload.begin(url).status == 200
        assert upload.part(1, body).status == 200
        assert upload.complete().status == 200
        assert found(clients, upload) == body
    assert is_used(upload.begin(url))


# --- what is killed in between ---------------------------------------------------------------------------


def kill_workers(gate: Gate) -> None:
    """All of them, at once; until there are others."""
    dying = set(gate.workers())
    for process in dying:
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: len(set(gate.workers()) - dying) == len(dying), 15)


def patiently(step: Callable[[], Answer]) -> Answer:
    """A step that is repeated until a worker that lives has answered it."""
    answers: list[Answer] = []

    def tried() -> bool:
        with suppress(*BROKEN, HTTPException):
            answers.append(step())
        return bool(answers)

    wait_until(tried, 20)
    return answers[0]


def test_workers_that_are_killed_take_no_use_with_them_and_give_none_back(tmp_path: Path) -> None:
    with Gate(tmp_path, args=("--workers", "2")) as gate:
        clients = Clients(gate)
        once = clients(profile=ONCE, signature_version=V4)
        completed, given_up = Presigned(gate, once, "completed"), Presigned(gate, once, "given-up")
        urls = [begun(completed), begun(given_up)]
        kill_workers(gate)
        assert is_used(patiently(partial(completed.begin, urls[0])))
        assert is_used(given_up.begin(urls[1]))
        assert completed.complete().status == 200
        assert given_up.abort().status == 204
        assert is_used(completed.begin(urls[0]))
        assert given_up.begin(urls[1]).status == 200
        assert found(clients, completed) == b"whole"


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Gate]:
    """Two workers on a port that stays the same when they are started again: URLs name it."""
    with Gate(tmp_path, args=("--workers", "2", "--listen", f"127.0.0.1:{free_port()}")) as running:
        yield running
        inspect(running)


def test_after_a_crash_of_all_uploads_go_on_and_no_use_comes_back(lasting: Gate) -> None:
    """The owner has forgotten what was reserved: an upload that is given up then leaves its use spent."""
    clients = Clients(lasting)
    once = clients(profile=ONCE, signature_version=V4)
    completed, given_up = Presigned(lasting, once, "completed"), Presigned(lasting, once, "given-up")
    urls = [begun(completed), begun(given_up)]
    twice = Presigned(lasting, clients(signature_version=V4), "twice")
    url = twice.create(uses="2")
    assert twice.begin(url).status == 200
    former = twice.id
    lasting.kill()
    restart(lasting)
    assert is_used(completed.begin(urls[0]))
    assert is_used(given_up.begin(urls[1]))
    assert completed.complete().status == 200
    assert given_up.abort().status == 204
    assert is_used(completed.begin(urls[0]))
    assert is_used(given_up.begin(urls[1]))
    assert found(clients, completed) == b"whole"
    # What was reserved before the crash is not mistaken for what was reserved after it.
    assert twice.begin(url).status == 200
    assert twice.part(1, b"second").status == 200
    assert Presigned(lasting, twice.client, "twice", former).abort().status == 204
    assert is_used(twice.begin(url))
    assert twice.complete().status == 200
    lasting.kill()
    restart(lasting)
    assert completed.complete().status == 200
    assert is_used(twice.begin(url))


@pytest.mark.parametrize(("call", "is_there"), [("linkat", False), ("renameat", True)])
def test_a_worker_that_is_killed_while_it_completes(lasting: Gate, tmp_path: Path, call: str, is_there: bool) -> None:
    """Before the name, the use is spent and nothing can be published any more; after it, the object is there once."""
    clients = Clients(lasting)
    once = clients(profile=ONCE, signature_version=V4)
    upload = Presigned(lasting, once, "killed")
    url = begun(upload)
    with Tracer(tmp_path, lasting.workers(), (call, 1)) as tracer:

        def complete() -> Answer | None:
            with suppress(*BROKEN, HTTPException):
                return upload.complete()
            return None

        assert tracer.kill(complete) is None
    wait_until(lambda: len(lasting.workers()) == 2, 15)
    assert (patiently(lambda: _get(lasting, clients)).status == 200) == is_there
    before = patiently(lambda: _get(lasting, clients)).headers.get("last-modified")
    again = patiently(upload.complete)
    assert again.status == (200 if is_there else 404), again
    assert _get(lasting, clients).headers.get("last-modified") == before
    assert is_used(upload.begin(url))
    assert upload.abort().status == 404
    assert is_used(upload.begin(url))
    assert (found(clients, upload) == b"whole") == is_there


def _get(gate: Gate, clients: Clients) -> Answer:
    params = {"Bucket": BUCKET, "Key": "killed"}
    return gate.ask("GET", clients(signature_version=V4).generate_presigned_url("get_object", params))
