"""The load test against one's own installation: what it asks, what it counts, and what it never shows."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bench.load.report import Report
from tests.edge.doors import make_certificate
from tests.gate import Gate, free_port

SMALL = b"x" * 1000
HOME = Path(__file__).parents[2]


def run_load(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """`python -m bench.load`."""
    command = [sys.executable, "-m", "bench.load", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, cwd=HOME, timeout=60, check=False)


def report_of(done: subprocess.CompletedProcess[str]) -> Report:
    """What it printed for programs (`--json -`)."""
    assert done.stdout, done.stderr
    return msgspec.json.decode(done.stdout, type=Report)


@pytest.fixture(scope="module")
def small(gate: Gate) -> str:
    """An object's path."""
    assert gate.ask("PUT", gate.sign("PUT", "/load/small"), SMALL).status == 201
    return "/load/small"


def test_each_answer_is_counted_to_its_last_byte(gate: Gate, small: str) -> None:
    done = run_load(
        "--url-file", "-", "--connections", "4", "--seconds", "0.5", "--json", "-", given=gate.sign("GET", small)
    )
    report = report_of(done)
    assert done.returncode == 0
    assert report.requests > 0
    assert report.statuses == {"200": report.requests}
    assert 0 <= report.bytes_received - report.requests * len(SMALL) <= 4 * len(SMALL)  # what was cut at the end
    assert report.failed == 0
    assert 0 < report.latency_ms.p50 <= report.latency_ms.p99 <= report.latency_ms.p99_9 <= report.latency_ms.max


def test_it_tells_progress_and_then_what_came_of_it(gate: Gate, small: str) -> None:
    done = run_load("--url-file", "-", "--connections", "2", "--seconds", "1.3", given=gate.sign("GET", small))
    assert " of 1.3 s " in done.stderr
    for word in ("requests", "bodies", "latency ms", "p50", "p90", "p99", "p99.9", "max", "statuses    200:", "failed"):
        assert word in done.stdout


def test_each_url_is_used_a_single_time_where_that_is_asked_for(gate: Gate, small: str, tmp_path: Path) -> None:
    """A second use would be refused; so the same file again counts refusals, by their code."""
    urls = tmp_path / "urls.txt"
    urls.write_text("\n".join(gate.sign("GET", small, uses=1) for _ in range(40)))
    first = run_load("--url-file", str(urls), "--once", "--connections", "8", "--json", "-")
    assert (first.returncode, report_of(first).statuses) == (0, {"200": 40})
    again = run_load("--url-file", str(urls), "--once", "--connections", "8", "--json", "-")
    assert (again.returncode, report_of(again).statuses) == (1, {"403": 40})
    assert report_of(again).errors == {"403 key_used": 40}


def test_a_head_has_no_body(gate: Gate, small: str) -> None:
    done = run_load("--url-file", "-", "--method", "HEAD", "--once", "--json", "-", given=gate.sign("HEAD", small))
    assert (report_of(done).statuses, report_of(done).bytes_received) == ({"200": 1}, 0)


def test_an_upload_sends_the_bytes_of_its_file(gate: Gate, tmp_path: Path) -> None:
    """More of them than go into one send."""
    content = bytes(range(256)) * 12_000
    (tmp_path / "body").write_bytes(content)
    url = gate.sign("PUT", "/load/from-file")
    done = run_load(
        "--url-file", "-", "--method", "PUT", "--once", "--body-file", str(tmp_path / "body"), "--json", "-", given=url
    )
    assert (done.returncode, report_of(done).bytes_sent) == (0, len(content))
    assert gate.ask("GET", gate.sign("GET", "/load/from-file")).body == content


@pytest.mark.parametrize("size", [0, 1, 70_000, 2_500_000])
def test_an_upload_sends_as_many_bytes_as_it_is_told_to(gate: Gate, size: int) -> None:
    url = gate.sign("PUT", f"/load/of-{size}")
    done = run_load("--url-file", "-", "--method", "PUT", "--once", "--body-bytes", str(size), "--json", "-", given=url)
    assert (done.returncode, report_of(done).bytes_sent) == (0, size)
    assert len(gate.ask("GET", gate.sign("GET", f"/load/of-{size}")).body) == size


def test_an_upload_that_is_refused_while_it_is_sent_says_why(gate: Gate) -> None:
    """The server answers before it has the body, and closes."""
    url = gate.sign("PUT", "/load/too-long", length=[0, 10])
    done = run_load("--url-file", "-", "--method", "PUT", "--once", "--body-bytes", "8MiB", "--json", "-", given=url)
    assert done.returncode == 1
    assert report_of(done).failed == 1
    assert report_of(done).bytes_sent == 0


def test_a_certificate_that_nobody_signed_is_refused_by_name(start: Callable[..., Gate], tmp_path: Path) -> None:
    """Unless it is named, or any is to be taken."""
    certificate, key = make_certificate(tmp_path)
    gate = start(f"[listen]\ntls-cert = '{certificate}'\ntls-key = '{key}'\n", cafile=certificate)
    assert gate.ask("PUT", gate.sign("PUT", "/load/small"), SMALL).status == 201
    url = gate.sign("GET", "/load/small")
    refused = run_load("--url-file", "-", "--once", "--connections", "1", "--json", "-", given=url)
    assert refused.returncode == 1
    assert "the certificate is not trusted" in str(report_of(refused).errors)
    for option in (["--insecure"], ["--cacert", str(certificate)]):
        done = run_load("--url-file", "-", "--once", *option, "--json", "-", given=url)
        assert (done.returncode, report_of(done).bytes_received) == (0, len(SMALL)), done.stderr


def test_a_rate_is_not_exceeded(gate: Gate, small: str) -> None:
    done = run_load("--url-file", "-", "--rate", "50", "--seconds", "0.6", "--json", "-", given=gate.sign("GET", small))
    assert 0 < report_of(done).requests <= 31


def test_an_interrupted_run_ends_with_the_figures_so_far(gate: Gate, small: str, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text(gate.sign("GET", small))
    command = [sys.executable, "-m", "bench.load", "--url-file", str(tmp_path / "urls"), "--seconds", "10m"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HOME) as process:
        assert process.stderr is not None
        process.stderr.readline()  # it is under way
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "200:" in text
    assert "ended early: interrupted" in text


def test_a_server_that_is_not_there_ends_the_run() -> None:
    done = run_load(
        "--url-file", "-", "--seconds", "10m", "--json", "-", given=f"http://127.0.0.1:{free_port()}/x?valet=k"
    )
    assert done.returncode == 1
    assert report_of(done).ended_early == "connection refused"


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("# a comment\n\nftp://host/x?valet=SECRET", "urls.txt:3: not a URL: 'ftp://host/x'"),
        ("http://host/a b?valet=SECRET", "urls.txt:1: not a URL: 'http://host/a b'"),
        ("http://user:SECRET@host/", "urls.txt:1: not a URL"),
        ("http://host:0/?valet=SECRET", "urls.txt:1: not a URL: 0 is no port"),
        ("\n# nothing\n", "has no URL in it"),
        ("http://no-such-host.invalid/?valet=SECRET", "no-such-host.invalid:80: "),
    ],
)
def test_what_is_no_url_is_named_by_its_line_and_never_shown_with_its_key(
    lines: str, wanted: str, tmp_path: Path
) -> None:
    (tmp_path / "urls.txt").write_text(lines)
    done = run_load("--url-file", str(tmp_path / "urls.txt"))
    assert done.returncode == 2
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    assert "SECRET" not in done.stderr


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--connections", "0"], "'0' is not a whole number from 1"),
        (["--seconds", "soon"], "'soon' is not a duration"),
        (["--seconds", "0"], "0 is no time to measure in"),
        (["--rate", "-1"], "--rate"),
        (["--body-bytes", "1"], "--body-file and --body-bytes are for --method PUT, not GET"),
        (["--body-bytes", "much"], "'much' is not a size"),
        (["--header", "no colon"], "--header wants NAME: VALUE"),
        (["--header", "Host: x"], "--header Host: the generator sets this one itself"),
        (["--cacert", "/nowhere"], "no such file"),
        (["--method", "DELETE"], "invalid choice"),
        (["--connections", "999999"], "open files allowed"),
    ],
)
def test_a_wrong_option_is_told_and_nothing_is_asked(options: list[str], wanted: str) -> None:
    done = run_load("--url-file", "-", *options, given="http://127.0.0.1:9/x")
    assert (done.returncode, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr


def test_urls_of_more_servers_than_connections_are_refused() -> None:
    urls = "http://127.0.0.1:9/x\nhttp://127.0.0.1:10/x"
    done = run_load("--url-file", "-", "--connections", "1", given=urls)
    assert done.returncode == 2
    assert "URLs of 2 servers" in done.stderr


@pytest.mark.parametrize("module", ["bench", "bench.versus", "bench.load"])
def test_help_says_how_it_is_called(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=HOME, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m {module}" in done.stdout
