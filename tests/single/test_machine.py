"""Whatever happens in whatever order, the gateway answers as a model of its promises does.

The one thing that does not happen here is a clock that jumps: a process has the system's clock, which no test may
set. tests/replay, tests/policy and tests/owner do it with clocks of their own, test_logs.py with a log that has seen
another time.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.edge.conftest import inspect
from tests.edge.doors import target
from tests.edge.wire import Ended, Wire, wait_until
from tests.gate import Answer, Gate
from tests.single.crowd import Keys, request, restart
from valetstore import Signer
from valetstore.grants.claims import Claims
from valetstore.grants.native import sign as sign_claims

WORKERS: Final = 2
FOLDERS: Final = ("red", "blue")
PATHS: Final = tuple(f"/{folder}/{name}" for folder in FOLDERS for name in "ab")
SUBJECTS: Final = ("alice", "bob")
Method = Literal["GET", "PUT", "DELETE"]
METHODS: Final[tuple[Method, ...]] = ("GET", "PUT", "DELETE")
OPERATION: Final[dict[Method, str]] = {"GET": "read", "PUT": "write", "DELETE": "delete"}
DAY: Final = 86_400
EXAMPLES: Final = 4
CALM: Final = 10
"""So many steps at least lie between two restarts."""

paths = st.sampled_from(PATHS)
methods = st.sampled_from(METHODS)


@dataclass
class Key:
    """A key that was signed, and what is known of it. `left` is None where its uses are not limited."""

    target: str
    method: Method
    path: str
    signer: str
    subject: str
    issued_at: int
    left: int | None
    released: bool = False


@dataclass
class Entry:
    """A revocation that is in force."""

    id: str
    means: Callable[[Key], bool]
    by_prefix: bool


class Machine(RuleBasedStateMachine):
    """The model: objects, what is left of each key, revocations in force, signing keys that are retired."""

    gate: Gate
    plain: Keys
    signers: dict[str, Signer]
    calm: int
    example: int

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.keys: list[Key] = []
        self.entries: list[Entry] = []
        self.retired: set[str] = set()
        self.count = 0

    @initialize()
    def begin(self) -> None:
        """One gateway serves all examples: each has names of its own there, and a signing key that may be retired."""
        kind = type(self)
        kind.example += 1
        self.bucket = f"/m{kind.example}"
        self.doomed = f"doomed{kind.example}"
        self.gate.cli("keys", "create", self.doomed)
        time.sleep(0.7)

    def teardown(self) -> None:
        """All that was signed is as it should be, in the end as well; what was revoked for all is undone."""
        for key in self.keys:
            self.is_as_the_model_says(key)
        for entry in self.entries:
            assert self.admin("DELETE", f"/{entry.id}").status == 204

    def at(self, path: str) -> str:
        """A path in this example's bucket."""
        return f"{self.bucket}{path}"

    def signer_of(self, number: int) -> str:
        """The lasting one or the doomed one."""
        return ("lasting", self.doomed)[number]

    def subject_of(self, name: str) -> str:
        """This example's person of that name."""
        return f"{name}{self.example}"

    # --- asking ------------------------------------------------------------------------------------------

    def ask(self, method: str, what: str, body: bytes | None = None, *lines: str) -> Answer:
        """One request on a connection of its own."""
        with Wire(self.gate.address, seconds=20) as wire:
            wire.send(request(method, what, body, *lines))
            return wire.answer(method)

    def some(self, number: int) -> Key:
        """A key that was signed; rather a late one."""
        return self.keys[-1 - number % len(self.keys)]

    def refusal(self, key: Key) -> str | None:
        """Why the gateway must refuse this key, whatever it is used for."""
        if key.signer in self.retired or any(entry.means(key) for entry in self.entries):
            return "key_revoked"
        if key.left is None:
            return "key_revoked" if key.released else None
        return "key_used" if key.released or not key.left else None

    def is_as_the_model_says(self, key: Key) -> None:
        """Asked in a way that uses nothing up."""
        if key.method == "GET":
            answer = self.ask("HEAD", key.target)
            expected = self.refusal(key) or (None if key.path in self.objects else "not_found")
            assert self.same(answer, expected), (key, answer, expected)
        else:
            body = b"never" if key.method == "PUT" else None
            answer = self.ask(key.method, key.target, body, 'If-Match: "never"')
            expected = self.refusal(key) or (
                "not_found" if key.method == "DELETE" and key.path not in self.objects else "precondition_failed"
            )
            assert answer.code == expected, (key, answer, expected)

    def same(self, answer: Answer, code: str | None) -> bool:
        """Whether an answer to HEAD, which has no code in a body but in its header, is that one."""
        return answer.code == code and (code is not None or answer.status == 200)

    def mint(self, signer: str, **claims: Any) -> str:
        """A token with exactly these claims, good for a day; the signing key is read from its file once."""
        if signer not in self.signers:
            self.signers[signer] = self.gate.signer(signer)
        made = self.signers[signer]
        return sign_claims(Claims(exp=int(time.time()) + DAY, **claims), made.kid, made.algorithm, made.material)

    # --- objects with plain keys -------------------------------------------------------------------------

    @rule(path=paths, data=st.binary(max_size=2000))
    def put(self, path: str, data: bytes) -> None:
        """Store."""
        path = self.at(path)
        answer = self.ask("PUT", self.plain("PUT", path), data)
        if self.is_shut(path):
            assert answer.code == "key_revoked"
        else:
            assert answer.status == (200 if path in self.objects else 201)
            self.objects[path] = data

    @rule(path=paths)
    def delete(self, path: str) -> None:
        """Remove."""
        path = self.at(path)
        answer = self.ask("DELETE", self.plain("DELETE", path))
        if self.is_shut(path):
            assert answer.code == "key_revoked"
        else:
            assert answer.status == (204 if path in self.objects else 404)
            self.objects.pop(path, None)

    def is_shut(self, path: str) -> bool:
        """Whether a plain key, issued now, is refused for that path."""
        now = Key("", "GET", path, "plain", "", int(time.time()), None)
        return any(entry.means(now) for entry in self.entries)

    @invariant()
    def objects_are_there(self) -> None:
        """One of them, every time: what was stored is there, what was removed is not."""
        path = self.at(PATHS[self.count % len(PATHS)])
        self.count += 1
        for method in ("GET", "HEAD"):
            answer = self.ask(method, self.plain("GET", path))
            if self.is_shut(path):
                assert answer.code == "key_revoked"
            elif path in self.objects:
                assert answer.status == 200
                assert method == "HEAD" or answer.body == self.objects[path]
            else:
                assert answer.status == 404

    @invariant()
    def keys_are_as_they_were_left(self) -> None:
        """Two of them, every time."""
        for _ in range(min(4, len(self.keys))):
            self.is_as_the_model_says(self.keys[self.count * 7 % len(self.keys)])
            self.count += 1

    # --- keys --------------------------------------------------------------------------------------------

    @rule(
        method=methods,
        path=paths,
        signer=st.sampled_from([0, 1]),
        subject=st.sampled_from(SUBJECTS),
        uses=st.sampled_from([1, 1, 1, 3, None]),
        age=st.sampled_from([0, 100, 1000]),
    )
    def sign(self, method: Method, path: str, signer: int, subject: str, uses: int | None, age: int) -> None:
        """A key for one use or a few, or for any number, signed some time ago."""
        path, name, subject = self.at(path), self.signer_of(signer), self.subject_of(subject)
        if name in self.retired:
            return
        issued_at = int(time.time()) - age
        claims: dict[str, Any] = {"ops": [OPERATION[method]], "path": path, "sub": subject, "iat": issued_at}
        claims["jti"] = f"{self.example}-{len(self.keys)}-{random.random()}"
        if uses is not None:
            claims["uses"] = uses
        token = self.mint(name, **claims)
        self.keys.append(Key(target(path, token), method, path, name, subject, issued_at, uses))

    @precondition(lambda self: self.keys)
    @rule(number=st.integers(0, 5), again=st.integers(1, 4))
    def use(self, number: int, again: int) -> None:
        """Use a key, several times."""
        key = self.some(number)
        for _ in range(again):
            self.use_once(key)

    def use_once(self, key: Key) -> None:
        """What the gateway answers, and what is there then, is what the model says."""
        body = b"%d" % self.count if key.method == "PUT" else None
        self.count += 1
        exists = key.path in self.objects
        expected = self.refusal(key) or ("not_found" if key.method != "PUT" and not exists else None)
        answer = self.ask(key.method, key.target, body)
        assert answer.code == expected, (key, answer, expected)
        if expected is not None:
            return
        if key.left is not None:
            key.left -= 1
        if key.method == "GET":
            assert answer.status == 200
            assert answer.body == self.objects[key.path]
        elif body is not None:
            assert answer.status == (200 if exists else 201)
            self.objects[key.path] = body
        else:
            assert answer.status == 204
            del self.objects[key.path]

    @precondition(lambda self: self.keys)
    @rule(number=st.integers(0, 5))
    def release(self, number: int) -> None:
        """Its holder gives a key back."""
        key = self.some(number)
        # A prefix means objects, and the gateway's own paths lie below none. A key that was used up is spent as well.
        revoked = any(entry.means(key) for entry in self.entries if not entry.by_prefix)
        is_refused = revoked or key.signer in self.retired or (key.released and key.left is None)
        answer = self.ask("POST", f"/_valet/release?{key.target.partition('?')[2]}")
        if is_refused:
            assert (answer.status, answer.code) == (401, "key_revoked"), (key, answer)
        else:
            assert answer.status == 204, (key, answer)
            key.released = True

    # --- revocations -------------------------------------------------------------------------------------

    def admin(self, method: str, below: str = "", **members: Any) -> Answer:
        """A request with a key for administration."""
        token = self.mint("ops", ops=["admin"], prefix="/_valet/")
        body = None if not members else json.dumps(members).encode()
        return self.ask(method, target(f"/_valet/revocations{below}", token), body)

    def revoke(self, means: Callable[[Key], bool], **members: Any) -> None:
        """Put it in force; where more than one is, keys of all kinds would soon be refused for that alone."""
        while len(self.entries) > 1:
            self.undo(0)
        answer = self.admin("POST", **members)
        assert answer.status in {200, 201}, answer
        if answer.status == 201:
            self.entries.append(Entry(answer.json()["id"], means, "prefix" in members))
        else:
            assert any(entry.id == answer.json()["id"] for entry in self.entries) or "key" in members

    @precondition(lambda self: any(key.signer not in self.retired for key in self.keys))
    @rule(number=st.integers(0, 5))
    def revoke_a_key(self, number: int) -> None:
        """By what was pasted; a key whose signing key is retired is not worth it."""
        key = self.some(number)
        if key.signer in self.retired:
            return
        self.revoke(lambda other: other is key, key=key.target)

    @rule(
        what=st.sampled_from(["subject", "prefix", "signing key"]),
        which=st.integers(0, 1),
        age=st.sampled_from([50, 500, None]),
    )
    def revoke_many(self, what: str, which: int, age: int | None) -> None:
        """By what they have in common."""
        if what == "subject":
            self.revoke_a_subject(SUBJECTS[which], age)
        elif what == "prefix":
            self.revoke_a_prefix(FOLDERS[which], age)
        else:
            self.revoke_old_keys_of_a_signing_key(which)

    def revoke_a_subject(self, subject: str, age: int | None) -> None:
        """All keys of somebody, or those issued before."""
        subject, before = self.subject_of(subject), None if age is None else int(time.time()) - age
        self.revoke(
            lambda key: key.subject == subject and (before is None or key.issued_at < before),
            subject=subject,
            issued_before=before,
        )

    def revoke_a_prefix(self, folder: str, age: int | None) -> None:
        """All keys for what lies below, or those issued before."""
        prefix, before = self.at(f"/{folder}/"), None if age is None else int(time.time()) - age
        self.revoke(
            lambda key: key.path.startswith(prefix) and (before is None or key.issued_at < before),
            prefix=prefix,
            issued_before=before,
        )

    def revoke_old_keys_of_a_signing_key(self, signer: int) -> None:
        """As after a leak that was found."""
        name, before = self.signer_of(signer), int(time.time()) - 50
        self.revoke(lambda key: key.signer == name and key.issued_at < before, signing_key=name, issued_before=before)

    @precondition(lambda self: self.entries)
    @rule(number=st.integers(0, 5))
    def undo(self, number: int) -> None:
        """Take one back."""
        entry = self.entries.pop(number % len(self.entries))
        assert self.admin("DELETE", f"/{entry.id}").status == 204
        assert self.admin("DELETE", f"/{entry.id}").code == "not_found"

    @precondition(lambda self: not self.retired and any(key.signer == self.doomed for key in self.keys))
    @rule()
    def retire(self) -> None:
        """With all keys it has signed."""
        self.gate.cli("keys", "retire", self.doomed)
        self.retired.add(self.doomed)
        time.sleep(1)  # the ring is looked at four times a second, by one process, which tells the others

    # --- what may happen to a gateway --------------------------------------------------------------------

    @invariant()
    def time_passes(self) -> None:
        """Between two restarts, which take longer than all else, there should be something to remember."""
        type(self).calm += 1

    @rule(what=st.sampled_from(["worker", "worker", "owner", "all", "restart"]), number=st.integers(0, WORKERS - 1))
    def disturb(self, what: str, number: int) -> None:
        """Kill some of it or all, or restart it."""
        if what == "worker":
            self.kill_a_worker(number)
        elif self.calm > CALM:
            type(self).calm = 0
            if what == "restart":
                self.restart_it()
            else:
                self.kill(owner_only=what == "owner")

    def kill_a_worker(self, number: int) -> None:
        """The others, and its successor, know all that it knew."""
        workers = self.gate.workers()
        victim = workers[number % len(workers)]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in self.gate.workers() and self.gate.workers(), 15)
        self.until_it_answers()

    def until_it_answers(self) -> None:
        """A connection that the dead one had accepted is lost; the next one is not."""

        def answers() -> bool:
            with suppress(OSError, Ended):
                return self.ask("GET", "/_valet/live").status == 200
            return False

        wait_until(answers, 15)

    def kill(self, owner_only: bool) -> None:
        """The supervisor or everything, at once."""
        assert self.gate.process
        if owner_only:
            self.gate.process.kill()
            self.gate.process.wait(10)
        else:
            self.gate.kill()
        restart(self.gate)

    def restart_it(self) -> None:
        """As for an update."""
        assert self.gate.stop() == 0
        restart(self.gate)


@pytest.mark.timeout(300)
def test_the_gateway_is_what_its_model_says(tmp_path: Path) -> None:
    gate = Gate(tmp_path, args=("--workers", str(WORKERS)))
    for name in ("lasting", "plain"):
        gate.cli("keys", "create", name)
    gate.cli("keys", "create", "ops", "--ops", "admin", "--prefix", "/_valet/")
    with gate:
        Machine.gate, Machine.plain, Machine.signers = gate, Keys(gate, "plain"), {}
        Machine.calm = Machine.example = 0
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=40,
                deadline=None,
                phases=[Phase.generate],  # a gateway that has a past answers no smaller example in the same way
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
        inspect(gate)
