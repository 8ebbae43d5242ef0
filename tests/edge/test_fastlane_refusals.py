"""What the lane knows by heart is refused all the same from the moment that anything about it has changed.

Rule: each test first sees the lane itself answer the very request whose refusal, or other answer, it then asks for.
"""

import json
import mmap
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.edge.doors import mint
from tests.edge.faults import faults
from tests.edge.lanes import Laned, Said, heard, laned
from tests.edge.wire import Wire, head, wait_until
from valetstore.storage.settled import SETTLED_NS
from valetstore.storage.small import REOPEN_SECONDS

OLD: Final = b"old content"
NEW: Final = b"NEW CONTENT"
SETTLED_SECONDS: Final = SETTLED_NS / 1e9
TRIES: Final = 200
RELOADED: Final = "settings, keys and certificate are reloaded"
CONFIG: Final[dict[str, dict[str, Any]]] = {"keys": {"clock-skew-seconds": 0}}


class Asked:
    """A request that the lane knows by heart, on a connection that is warm."""

    def __init__(self, lane: Laned, target: str, method: str = "GET", wire: Wire | None = None) -> None:
        self.lane = lane
        self.request = head(method, target)
        self.wire = wire or lane.wire()

    def learned(self) -> "Asked":
        """Ask until the lane has answered from what it knows of this very head: three times in a row."""
        streak = 0
        for _ in range(TRIES):
            before = self.lane.served()
            assert self.again().status == 200
            streak = streak + 1 if self.lane.served() > before else 0
            if streak == 3:
                return self
        raise AssertionError("the lane does not serve it")

    def again(self) -> Said:
        """Once more."""
        return heard(self.wire, self.request)


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laned]:
    """A gateway with an object for each test that changes one, all older than what is remembered must be."""
    folder = tmp_path_factory.mktemp("lane")
    (folder / "files").mkdir()
    bucket = {"buckets.b": {"root": str(folder / "files"), "layout": "files"}}
    with laned(folder, CONFIG | bucket) as made:
        made.put("/b/kept", OLD)
        for name in CHANGES:
            made.put(f"/{bucket_of(name)}/folder/{name}", OLD, Content_Type="text/plain")
        time.sleep(SETTLED_SECONDS + 0.1)
        yield made


def bucket_of(name: str) -> str:
    """A bucket of its own, where the bucket itself is changed."""
    return "gone" if name == "the bucket is gone" else "b"


def root_of(lane: Laned, bucket: str) -> Path:
    """A bucket's folder."""
    return lane.gate.folder / "files" if bucket == "b" else lane.gate.data / "objects" / bucket


# --- the object ----------------------------------------------------------------------------------------


def _same_stamps(path: Path, change: Callable[[], object]) -> None:
    state = path.stat()
    change()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def _other_file(path: Path, body: bytes = NEW) -> Path:
    other = path.with_name("other file")
    other.write_bytes(body)
    return other


def _edit(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(NEW)


def _become_link(path: Path) -> None:
    other = _other_file(path)
    path.unlink()
    path.symlink_to(other)


def _become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _parent_becomes_link(path: Path) -> None:
    away = path.parent.with_name("other place")
    away.mkdir()
    (away / path.name).write_bytes(NEW)
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.symlink_to(away)


def _parent_is_back(path: Path) -> None:
    path.parent.unlink()
    path.parent.with_name("moved").rename(path.parent)


def _own_type(path: Path) -> None:
    raw = os.getxattr(path, "user.valetstore")
    os.setxattr(path, "user.valetstore", raw.replace(b"text/plain", b"text/other"))


CHANGES: Final[dict[str, tuple[Callable[[Path], object], bytes]]] = {
    "it is removed": (Path.unlink, b""),
    "it is written over": (lambda path: path.write_bytes(NEW), NEW),
    "it is edited in place": (_edit, NEW),
    "it is edited, size and time as before": (lambda path: _same_stamps(path, lambda: _edit(path)), NEW),
    "it is replaced, size and time as before": (
        lambda path: _same_stamps(path, lambda: _other_file(path).replace(path)), NEW),
    "it is cut": (lambda path: os.truncate(path, 3), OLD[:3]),
    "it is emptied": (lambda path: os.truncate(path, 0), b""),
    "it is a link now": (_become_link, b""),
    "it is a folder now": (_become_folder, b""),
    "it is a pipe now": (_become_pipe, b""),
    "its folder is moved": (lambda path: path.parent.rename(path.parent.with_name("away")), b""),
    "its folder is a link to another": (_parent_becomes_link, b""),
    "its attribute says another type": (_own_type, OLD),
    "its attribute is gone": (lambda path: os.removexattr(path, "user.valetstore"), OLD),
    "the bucket is gone": (lambda path: path.parent.parent.rename(path.parent.parent.with_name("other")), b""),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_the_next_answer_shows_what_is_there_now(lane: Laned, name: str) -> None:
    """Whoever changed it, and however it was made to look the same: what is gone is gone at once."""
    change, body = CHANGES[name]
    path = root_of(lane, bucket_of(name)) / "folder" / name
    asked = Asked(lane, lane.reading(f"/{bucket_of(name)}/folder/{name}")).learned()
    described = Asked(lane, lane.reading(f"/{bucket_of(name)}/folder/{name}"), "HEAD").learned()
    before = asked.again()
    change(path)
    try:
        after, told = asked.again(), described.again()
    finally:
        _undo(path, name)
    if name == "it is emptied" or body:
        assert (after.status, after.body) == (200, body)
        # At least its entity tag; but a record that names this size and this time is that of the file.
        assert (after.head == before.head) == (name == "it is edited, size and time as before")
        assert told.head == after.head
    else:
        assert (after.status, after.code) == (404, "not_found")
        assert told.code == "not_found"
    if "other type" in name:
        assert b"Content-Type: text/other\r\n" in after.head


def _undo(path: Path, name: str) -> None:
    """Others are below the same folder."""
    if name == "its folder is moved":
        path.parent.with_name("away").rename(path.parent)
    if name == "its folder is a link to another":
        _parent_is_back(path)


def test_no_link_is_followed_for_longer_than_a_reopening_takes(lane: Laned) -> None:
    """The very file, moved elsewhere with its folder and a link left behind: seen when it is opened anew."""
    lane.put("/b/linked/x", OLD)
    time.sleep(SETTLED_SECONDS + 0.1)
    asked = Asked(lane, lane.reading("/b/linked/x")).learned()
    folder = root_of(lane, "b") / "linked"
    folder.rename(lane.gate.folder / "elsewhere")
    folder.symlink_to(lane.gate.folder / "elsewhere")
    time.sleep(REOPEN_SECONDS + 0.1)
    assert asked.again().code == "not_found"


def test_what_is_written_through_a_mapping_is_shown_when_it_is_opened_anew(lane: Laned) -> None:
    """A mapping changes bytes without a stamp until the kernel writes them out."""
    lane.put("/b/mapped", OLD)
    path = root_of(lane, "b") / "mapped"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:1] = b"O"
        time.sleep(SETTLED_SECONDS + 0.1)
        asked = Asked(lane, lane.reading("/b/mapped")).learned()
        assert asked.again().body == b"O" + OLD[1:]
        mapped[0:3] = b"NEW"
        time.sleep(REOPEN_SECONDS + 0.1)
        assert asked.again().body == b"NEW" + OLD[3:]


def test_an_upload_by_the_gateway_is_seen_by_the_next_request_of_anyone(lane: Laned) -> None:
    """PUT with another type, DELETE, PUT again: each is answered by its own state, on connections that are warm."""
    lane.put("/b/turns", OLD, Content_Type="text/plain")
    time.sleep(SETTLED_SECONDS + 0.1)
    everyone = [Asked(lane, lane.reading("/b/turns")).learned() for _ in range(3)]
    lane.put("/b/turns", NEW, Content_Type="text/html")
    for asked in everyone:
        said = asked.again()
        assert said.body == NEW
        assert b"Content-Disposition: attachment" in said.head
    assert lane.gate.ask("DELETE", lane.gate.sign("DELETE", "/b/turns")).status == 204
    assert [asked.again().code for asked in everyone] == ["not_found"] * 3
    lane.put("/b/turns", OLD)
    assert [asked.again().body for asked in everyone] == [OLD] * 3


def test_one_workers_upload_is_seen_by_the_others(tmp_path: Path) -> None:
    """Every connection, of whichever of two workers, shows the new state once the PUT was answered."""
    with laned(tmp_path, CONFIG, args=("--workers", "2")) as lane:
        lane.put("/b/x", OLD)
        time.sleep(SETTLED_SECONDS + 0.1)
        target = lane.reading("/b/x")
        everyone = [Asked(lane, target) for _ in range(8)]
        for _ in range(6):
            assert {asked.again().body for asked in everyone} == {OLD}
        wait_until(lambda: [asked.again() for asked in everyone] and lane.served() > 0)
        for number in range(5):
            body = b"state %d..." % number
            lane.put("/b/x", body)
            assert {asked.again().body for asked in everyone for _ in range(3)} == {body}


# --- the key -------------------------------------------------------------------------------------------


def test_a_key_that_expires_is_refused_from_its_last_moment_on(lane: Laned) -> None:
    """To the moment, while it is asked for again and again."""
    end = int(time.time()) + 3
    asked = Asked(lane, lane.reading("/b/kept", exp=end)).learned()
    last = time.time()
    while (said := asked.again()).status == 200:
        last = time.time()
        assert last < end + 5
        time.sleep(0.001)
    assert said.code == "key_expired"
    assert last < end + 0.2
    assert time.time() >= end


REVOKED: Final[dict[str, tuple[list[str], dict[str, Any]]]] = {
    "subject": (["--subject", "mallory"], {"sub": "mallory"}),
    "prefix": (["--prefix", "/b/prefixed/"], {}),
    "signing key": (["--signing-key", "leaked"], {"key": "leaked"}),
    "issued before": (["--subject", "late", "--issued-before", "now"], {"sub": "late", "iat": 1}),
}


@pytest.mark.parametrize("what", [*REVOKED, "key"])
def test_a_revocation_holds_from_the_commands_end_on_and_until_it_is_taken_back(lane: Laned, what: str) -> None:
    """By key, signing key, subject, prefix: what the lane has just served it serves no more; and again once undone."""
    options, claims = REVOKED.get(what, ([], {"jti": "leaked"}))
    path = "/b/prefixed/x" if what == "prefix" else "/b/kept"
    if what == "prefix":
        lane.put(path, OLD)
    if what == "signing key":
        lane.gate.cli("keys", "create", "leaked")
    target = lane.reading(path, **claims)
    first = Asked(lane, target)
    wait_until(lambda: first.again().status == 200)
    asked = first.learned()
    untouched = Asked(lane, lane.reading("/b/kept", sub="other")).learned()
    made = json.loads(lane.gate.cli("revoke", *(options or [target.partition("valet=")[2]]), "--json"))
    assert asked.again().code == "key_revoked"
    assert untouched.again().status == 200
    lane.gate.cli("revoke", "--undo", made["id"])
    assert asked.again().status == 200


def test_a_retired_signing_key_opens_nothing_once_the_ring_is_read_again(lane: Laned) -> None:
    """Retired at once, or after a while that ends without any reload."""
    for name in ("leaving", "soon"):
        with lane.gate.reloading():
            lane.gate.cli("keys", "create", name)
    asked = {name: Asked(lane, lane.reading("/b/kept", key=name)).learned() for name in ("leaving", "soon")}
    with lane.gate.reloading():
        lane.gate.cli("keys", "retire", "leaving")
    assert asked["leaving"].again().code == "key_revoked"
    began = time.time()
    with lane.gate.reloading():
        lane.gate.cli("keys", "retire", "soon", "--after", "3s")
    asked["soon"].learned()
    wait_until(lambda: asked["soon"].again().code == "key_revoked")
    assert time.time() >= began + 2  # it ends with a whole second


def test_a_signing_key_that_is_taken_out_of_the_ring_opens_nothing(lane: Laned) -> None:
    """Not even what it has opened a moment ago."""
    with lane.gate.reloading():
        lane.gate.cli("keys", "create", "taken-out")
    asked = Asked(lane, lane.reading("/b/kept", key="taken-out")).learned()
    file = lane.gate.data / "keys" / "ring.json"
    ring = json.loads(file.read_text())
    ring["keys"] = [record for record in ring["keys"] if record["name"] != "taken-out"]
    ring["generation"] = ring.get("generation", 0) + 1
    with lane.gate.reloading():
        new = file.with_suffix(".new")
        new.write_text(json.dumps(ring))
        shutil.copymode(file, new)
        new.replace(file)
    assert asked.again().code == "signature_mismatch"


def test_a_key_bound_to_a_network_opens_from_there_alone(lane: Laned) -> None:
    """The same head, to the last byte, from two addresses in turn; each by itself at the same time."""
    target = lane.reading("/b/kept", ip="127.0.0.1/32")
    here = Asked(lane, target).learned()
    with Wire(lane.gate.address, source="127.0.0.2") as other:
        there = Asked(lane, target, wire=other)
        for _ in range(6):
            assert there.again().code == "source_not_allowed"
            assert here.again().status == 200
    open_to_both = lane.reading("/b/kept", ip="127.0.0.0/8")
    with Wire(lane.gate.address, source="127.0.0.2") as other:
        both = [Asked(lane, open_to_both).learned(), Asked(lane, open_to_both, wire=other).learned()]
        lines = len(lane.gate.audit())
        for asked in both * 2:
            assert asked.again().status == 200
        said = [line["address"] for line in lane.gate.audit()[lines:] if line["event"] == "decision"]
        assert said == ["127.0.0.1", "127.0.0.2"] * 2


# --- the gateway ---------------------------------------------------------------------------------------


def _reload(lane: Laned, config: str) -> None:
    (lane.gate.folder / "valetstore.toml").write_text(config)
    count = lane.gate.log.count(RELOADED)
    assert lane.gate.process
    lane.gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: lane.gate.log.count(RELOADED) > count)


def test_settings_that_are_read_again_hold_for_what_is_known_by_heart(tmp_path: Path) -> None:
    """An audience that is required, a skew that is gone, budgets that are switched on, failures that are too many."""
    with laned(tmp_path, {"keys": {"clock-skew-seconds": 600}}) as lane:
        lane.put("/b/x", OLD)
        late = Asked(lane, lane.reading("/b/x", exp=int(time.time()) - 60)).learned()
        plain = Asked(lane, lane.reading("/b/x")).learned()
        _reload(lane, "[keys]\nclock-skew-seconds = 0\n")
        assert late.again().code == "key_expired"
        assert plain.learned().again().status == 200
        _reload(lane, '[keys]\naudience = "us"\naudience-required = true\n')
        assert plain.again().code == "key_malformed"
        _reload(lane, "[budgets]\naddress-requests-per-second = 1\naddress-burst = 3\n")
        assert [plain.again().status for _ in range(5)] == [200, 200, 200, 429, 429]
        served = lane.served()
        _reload(lane, "[budgets]\naddress-failures-per-second = 1\naddress-failures-burst = 3\n")
        assert lane.served() == served
        plain.learned()
        bad = Asked(lane, "/b/x?valet=" + mint(lane.gate, ops=["read"], path="/b/x")[:-6] + "AAAAAA")
        assert [bad.again().status for _ in range(4)] == [401, 401, 401, 429]
        assert plain.again().code == "rate_limited"


def test_where_the_audit_must_be_written_and_cannot_nothing_is_served(tmp_path: Path) -> None:
    """503 for what the lane knows, and 200 again when the audit can be written again."""
    with laned(tmp_path, {"audit": {"audit-required": True}}) as lane:
        lane.put("/b/x", OLD)
        asked = Asked(lane, lane.reading("/b/x")).learned()
        with faults(lane.gate, "inject=write,writev:error=ENOSPC", path=lane.gate.data / "audit.log"):
            wait_until(lambda: asked.again().code == "storage_unavailable", seconds=20)
            assert asked.again().code == "storage_unavailable"
        wait_until(lambda: asked.again().status == 200, seconds=20)
        asked.learned()


def test_a_refused_request_is_counted_and_told_once(lane: Laned) -> None:
    """The lane looks first and says nothing of what it does not answer."""
    asked = Asked(lane, lane.reading("/b/kept")).learned()
    wrong = Asked(
        lane, "/b/kept?valet=" + mint(lane.gate, ops=["read"], path="/b/kept")[:-6] + "AAAAAA", wire=asked.wire
    )
    time.sleep(0.1)
    lines = len(lane.gate.audit())
    before = _decisions(lane)
    assert wrong.again().code == "signature_mismatch"
    assert len(lane.gate.audit()) == lines + 1
    after = _decisions(lane)
    assert sum(after.values()) == sum(before.values()) + 1


def _decisions(lane: Laned) -> dict[str, float]:
    rows = (line.rsplit(" ", 1) for line in lane.metrics().splitlines())
    return {row[0]: float(row[1]) for row in rows if row[0].startswith("valetstore_decisions_total")}
