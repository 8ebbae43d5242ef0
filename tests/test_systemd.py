"""The files for the machine around the gateway: units, alert rules, dashboard."""

import configparser
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from valetstore import metrics as metrics_module
from valetstore.config import Listen, Storage
from valetstore.metrics import Metrics

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "systemd"


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (Debian package `{package}`)")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)


class _Unit(configparser.RawConfigParser):
    """A unit file, as far as its settings are names and values."""

    def __init__(self, path: Path) -> None:
        super().__init__(delimiters=("=",), comment_prefixes=("#",), strict=False, interpolation=None)
        self.optionxform = str  # type: ignore[assignment, method-assign]
        self.read_string(path.read_text())


@pytest.fixture
def service() -> _Unit:
    return _Unit(UNITS / "valetstore.service")


def test_the_service_is_hardened_to_a_level_of_two_at_most() -> None:
    result = run(
        tool("systemd-analyze", "systemd"),
        "security", "--offline=true", "--threshold=20", "--no-pager", UNITS / "valetstore.service",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert "Overall exposure level" in result.stdout


def test_systemd_knows_every_directive_of_the_units(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "systemd")
    text = (UNITS / "valetstore.service").read_text()
    # The program is not installed where the tests run.
    (tmp_path / "valetstore.service").write_text(re.sub(r"(?m)^ExecStart=.*", "ExecStart=/bin/true", text))
    shutil.copy(UNITS / "valetstore.socket", tmp_path)
    result = run(analyze, "verify", "--man=no", *tmp_path.iterdir())
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) not in result.stderr


def test_the_account_and_the_folders_can_be_made(tmp_path: Path) -> None:
    sysusers = tool("systemd-sysusers", "systemd")
    (tmp_path / "etc").mkdir()
    made = run(sysusers, f"--root={tmp_path}", "--dry-run", UNITS / "valetstore.sysusers")
    assert made.returncode == 0, made.stderr
    assert "Creating user 'valetstore'" in made.stderr


def test_every_group_of_directives_of_the_service_says_why() -> None:
    for block in (UNITS / "valetstore.service").read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("[")]
        sections = {line for line in block.splitlines() if line.startswith("[")}
        if lines and not sections & {"[Unit]", "[Install]"}:
            assert lines[0].startswith("#"), block


def test_a_blocked_loop_is_noticed_in_five_seconds_and_the_service_is_started_anew(service: _Unit) -> None:
    found = service["Service"]
    assert found["Type"] == "notify"
    assert found["WatchdogSec"] == "5"
    assert found["Restart"] == "on-failure"  # systemd.service(5): includes the watchdog
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_manager_waits_longer_for_the_end_than_transfers_may_take(service: _Unit) -> None:
    assert int(service["Service"]["TimeoutStopSec"]) > Listen().drain_seconds


def test_the_service_starts_the_command_with_its_own_folders(service: _Unit) -> None:
    found = service["Service"]
    assert found["ExecStart"].split() == [
        "/opt/valetstore/bin/valetstore", "serve",
        "--config", "/etc/valetstore/valetstore.toml", "--data", "/var/lib/valetstore",
    ]  # fmt: skip
    assert found["StateDirectory"] == found["ConfigurationDirectory"] == "valetstore"


def test_what_the_gateway_needs_is_not_forbidden(service: _Unit) -> None:
    found = service["Service"]
    assert set(found["RestrictAddressFamilies"].split()) == {"AF_INET", "AF_INET6", "AF_UNIX"}
    # RestrictSUIDSGID turns openat2 off, ProcSubset=pid takes the process metrics' boot time away.
    assert "RestrictSUIDSGID" not in found
    assert "ProcSubset" not in found


_STORE = ["openat2", "flock", "fallocate", "sendfile", "fsetxattr", "linkat", "fdatasync"]
_WORKERS = ["socketpair", "memfd_create", "prctl", "execve", "kill", "sched_getaffinity"]


@pytest.mark.parametrize("call", [*_STORE, *_WORKERS])
def test_a_system_call_that_store_and_workers_are_made_of_is_allowed(call: str) -> None:
    analyze = tool("systemd-analyze", "systemd")
    allowed = _calls(analyze, "@system-service")
    assert call in allowed - _calls(analyze, "@privileged") - _calls(analyze, "@resources")


def _calls(analyze: str, group: str) -> set[str]:
    """All calls of a group, those of the groups in it among them."""
    found = set()
    for line in run(analyze, "syscall-filter", "--no-pager", group).stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= _calls(analyze, name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def test_the_socket_listens_where_the_gateway_would() -> None:
    socket_unit = _Unit(UNITS / "valetstore.socket")
    assert socket_unit["Socket"]["ListenStream"] == Listen().listen[0]


def test_there_may_be_as_many_threads_as_workers_on_a_large_machine_have(service: _Unit) -> None:
    """Each has those of the store, those of asyncio's executor (32 at most), the audit's and its own."""
    of_one = Storage().storage_threads + 32 + 2
    assert int(service["Service"]["TasksMax"]) > 128 * of_one


def test_the_main_process_alone_is_told_to_end_and_the_rest_end_with_it(service: _Unit) -> None:
    assert service["Service"]["KillMode"] == "mixed"


def test_the_rotated_log_is_the_one_that_is_written_and_the_service_is_told(service: _Unit) -> None:
    text = (UNITS / "valetstore.logrotate").read_text()
    assert "/var/lib/valetstore/audit.log {" in text
    assert "systemctl reload valetstore.service" in text
    assert "su valetstore valetstore" in text


def test_logrotate_reads_its_file(tmp_path: Path) -> None:
    logrotate = tool("logrotate", "logrotate")
    text = (UNITS / "valetstore.logrotate").read_text()
    text = re.sub(r"(?m)^ *su .*\n", "", text).replace("/var/lib/valetstore", str(tmp_path))
    (tmp_path / "conf").write_text(text)
    (tmp_path / "conf").chmod(0o644)
    result = run(logrotate, "--debug", "--state", tmp_path / "state", tmp_path / "conf")
    assert result.returncode == 0, result.stderr
    assert "error" not in result.stderr


# Alert rules and dashboard name what there is.


def exposed() -> set[str]:
    """Every sample name of an exposition where everything has happened and everyone has registered."""
    metrics = Metrics()
    metrics.decided("native", "read", "ok")
    metrics.failed("native", "read", "storage_error")
    metrics.ended("read", 1, 1)
    for name, row in metrics_module._ASKED.items():
        metrics.gauge(name, dict.fromkeys(row.labels, "x"), lambda: 1)
    lines = metrics.exposition().decode().splitlines()
    return {re.split(r"[{ ]", line, maxsplit=1)[0] for line in lines if not line.startswith("#")}


def labels_of(name: str) -> set[str]:
    known = {"job", "instance"}  # what the scraping Prometheus adds
    own = {
        "valetstore_decisions_total": {"dialect", "operation", "code"},
        "valetstore_failures_total": {"dialect", "operation", "code"},
        "valetstore_bytes_total": {"direction"},
        "valetstore_time_to_first_byte_seconds_bucket": {"operation", "le"},
        "valetstore_request_duration_seconds_bucket": {"operation", "le"},
        "valetstore_build_info": {"version"},
    }
    asked = metrics_module._ASKED.get(name)
    return known | own.get(name, set()) | (set(asked.labels) if asked else set())


def named(text: str) -> set[str]:
    return set(re.findall(r"\b(?:valetstore|process)_[a-z_]+", text))


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "config" / "grafana-dashboard.json").read_text())
    return loaded


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_the_alert_rules_name_only_metrics_that_exist() -> None:
    found = named((ROOT / "config" / "alerts.yml").read_text())
    assert found <= exposed(), found - exposed()


def test_whatever_refuses_keys_for_the_gateways_own_reasons_is_an_alert() -> None:
    text = (ROOT / "config" / "alerts.yml").read_text()
    for condition in (
        "valetstore_replay_entries / valetstore_replay_entries_max > 0.8",
        "valetstore_replay_available == 0",
        "valetstore_revocations_available == 0",
        "increase(valetstore_worker_replacements_total[15m]) > 0",
    ):
        assert f"expr: {condition}\n" in text


def test_the_alert_rules_name_only_codes_that_exist() -> None:
    text = (ROOT / "config" / "alerts.yml").read_text()
    codes = {code for group in re.findall(r'code=~?"([^"]+)"', text) for code in group.split("|")}
    assert codes
    assert codes <= metrics_module._CODES


def test_storage_that_fails_an_admitted_request_is_an_alert_and_shown() -> None:
    """An upload meets the disk only after it was admitted, and its decision counts as ok."""
    told = [(ROOT / "config" / "alerts.yml").read_text(), " ".join(expressions())]
    for text in told:
        assert re.search(r'valetstore_failures_total\{code=~"storage_full\|storage_unavailable\|storage_error', text)


def test_promtool_finds_no_fault_in_the_alert_rules() -> None:
    result = run(tool("promtool", "prometheus"), "check", "rules", ROOT / "config" / "alerts.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    """As recording rules, with Grafana's variables filled in; JSON is YAML too."""
    promtool = tool("promtool", "prometheus")
    rules = []
    for number, expression in enumerate(expressions()):
        for variable, text in [
            ("__rate_interval", "5m"),
            ("__range", "1h"),
            ("job", ".*"),
            ("instance", ".*"),
        ]:
            expression = expression.replace(f"${variable}", text)
        rules.append({"record": f"r{number}", "expr": expression})
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    result = run(promtool, "check", "rules", tmp_path / "rules.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_dashboard_shows_every_metric_of_the_gateway_and_no_other() -> None:
    shown = set().union(*(named(expression) for expression in expressions()))
    assert shown <= exposed(), shown - exposed()
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed() if name.startswith("valetstore")}
    assert families == {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown if name.startswith("v")}


def test_the_dashboard_selects_only_by_labels_that_the_metrics_have() -> None:
    for expression in expressions():
        for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
            used = set(re.findall(r'(\w+)=?[~!]?="?', selector)) - {""}
            assert used <= labels_of(name), (name, used)


def test_the_dashboard_can_be_imported() -> None:
    """Numbers and places are unique, rows are the four of the gateway, the data source is asked for."""
    found = dashboard()
    panels = found["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == [
        "Decisions", "Traffic", "Latency", "Capacity",
    ]  # fmt: skip
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert found["id"] is None
    assert {variable["name"] for variable in found["templating"]["list"]} == {"datasource", "job", "instance"}
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels if panel["type"] != "row")
