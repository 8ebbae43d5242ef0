"""What README and docs tell a reader to do is done here, in order, as it stands there."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.gate import free_port
from tests.interop.tools import node_modules
from valetstore import metrics as metrics_module
from valetstore.edge.azure.calls import _OPERATIONS as AZURE
from valetstore.edge.azure.codes import SENTENCES as AZURE_SENTENCES
from valetstore.edge.cloudfront.calls import _OPERATIONS as CLOUDFRONT
from valetstore.edge.cloudfront.voice import ROWS as CLOUDFRONT_ROWS
from valetstore.edge.gcs.codes import SENTENCES as GOOGLE_SENTENCES
from valetstore.edge.s3.calls import _OPERATIONS as S3
from valetstore.edge.s3.codes import SENTENCES as S3_SENTENCES
from valetstore.edge.swift.calls import _OPERATIONS as SWIFT
from valetstore.edge.swift.codes import STATUSES as SWIFT_STATUSES
from valetstore.errors import REFUSALS
from valetstore.grants.azure import operations as azure_operations
from valetstore.grants.gcs import operations as google_operations
from valetstore.keys.vendor import VENDORS
from valetstore.metrics import Metrics

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)( no-run: [^\n]+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "8420"


def blocks(file: str, language: str) -> list[str]:
    """The code blocks of a file in one language, but for those that say why they are not run."""
    found = BLOCK.findall((ROOT / file).read_text())
    return [code for kind, reason, code in found if kind == language and not reason]


def run_shell(code: str, folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run shell code with the project's commands on the path, and end what it left in the background."""
    script = code.replace(PORT, str(port))
    # bash's own exit status, after everything it started is gone.
    script = f"set -euo pipefail\ntrap 'status=$?; kill $(jobs -p) 2>/dev/null; wait; exit $status' EXIT\n{script}"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VALETSTORE_METRICS": "off",
        "VALETSTORE_LISTEN": f"127.0.0.1:{port}",
    }
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_readme_commands_work_one_after_the_other(tmp_path: Path) -> None:
    """The first screen's steps and the HTTP section, in one shell, in an empty folder."""
    done = run_shell("".join(blocks("README.md", "sh")), tmp_path, free_port())
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    assert "a cat\n" in out
    assert "dog" in out
    assert "401" in out
    assert '"name":"dog.txt"' in out
    # `echo 'a dog' ... -r 2-4` is bytes 2 to 4 of "a dog".
    assert out.count("dog") >= 2


def test_make_run_prints_curl_lines_that_work(tmp_path: Path) -> None:
    """`make run`, its printed lines pasted into a shell: up, down, once, and once more refused."""
    port = free_port()
    arguments = [f"LISTEN=127.0.0.1:{port}", f"DATA={tmp_path / 'data'}", f"VENV={sys.prefix}"]
    with open(tmp_path / "out", "w") as out:
        running = subprocess.Popen(
            ["make", "--no-print-directory", "run", *arguments],
            cwd=ROOT,
            env=os.environ | {"VALETSTORE_METRICS": "off"},
            stdout=out,
            stderr=out,
        )
    try:
        lines = _printed_lines(tmp_path / "out", running)
        upload, download, once = (line for line in lines if "curl" in line)
        assert subprocess.run(["bash", "-c", upload], capture_output=True).returncode == 0
        for line in (download, once):
            assert subprocess.run(["bash", "-c", line], capture_output=True).stdout == b"Hello, valet.\n"
        again = subprocess.run(["bash", "-c", once], capture_output=True).stdout
        assert b"key_used" in again
    finally:
        # As Ctrl-C would reach it: the gateway itself, not make.
        os.kill(json.loads((tmp_path / "data/state/lock").read_bytes())["pid"], signal.SIGTERM)
        assert running.wait(20) == 0


def _printed_lines(path: Path, running: subprocess.Popen[bytes]) -> list[str]:
    for _ in range(600):
        text = path.read_text()
        if text.count("curl ") >= 3 and text.endswith("\n\n"):
            return text.splitlines()
        assert running.poll() is None, text
        try:
            running.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(path.read_text())


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    for target in ("run", "test", "lint", "bench"):
        assert f"make {target}" in done.stdout


@pytest.mark.parametrize("file", ["README.md", "docs/KEYS.md"])
def test_python_examples_mint_keys_that_open(file: str, tmp_path: Path) -> None:
    """The Python blocks, with a key made as they say; what they mint must be admitted."""
    port = free_port()
    code = "".join(blocks(file, "python"))
    code = code.replace("https://files.example.com", f"http://127.0.0.1:{port}") + "\nprint(url)\n"
    (tmp_path / "mint.py").write_text(code)
    shell = f"""
        valetstore serve & until curl -sf http://127.0.0.1:{port}/_valet/ready; do sleep 0.2; done
        valetstore keys create app --json > app-key.json
        url=$({sys.executable} mint.py)
        valetstore inspect "$url"
    """
    done = run_shell(shell, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "admitted" in done.stdout


S3_DONE = """
print(urlopen(download).read().decode())
for url, content_type in ((upload, "text/plain"), (limited, "image/png")):
    request = lambda: urlopen(Request(url, b"it", {"Content-Type": content_type}, method="PUT"))
    print(request().status)
try:
    request()
except HTTPError as refused:
    print(refused.headers["X-Valet-Error"])
"""


def test_s3_examples_in_python_open_the_door(tmp_path: Path) -> None:
    """The commands and the Python of docs/S3.md; what they sign downloads, uploads, and is used up."""
    port = free_port()
    code = "from urllib.error import HTTPError\nfrom urllib.request import Request, urlopen\n"
    code += "".join(blocks("docs/S3.md", "python")) + S3_DONE + "print(form['url'])\n"
    (tmp_path / "example.py").write_text(code.replace(PORT, str(port)))
    ready = f"valetstore serve & until curl -sf http://127.0.0.1:{port}/_valet/ready; do sleep 0.2; done\n"
    commands = "".join(blocks("docs/S3.md", "sh"))
    done = run_shell(f"{commands}{ready}{sys.executable} example.py", tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f"a cat\n200\n200\nkey_used\nhttp://127.0.0.1:{port}/photos\n")
    assert "aws_session_token = " in done.stdout
    assert '<form action="' in (tmp_path / "upload.html").read_text()


def test_s3_examples_in_javascript_open_the_door(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "node_modules").symlink_to(node_modules())
    code = (
        "".join(blocks("docs/S3.md", "js"))
        + """
console.log(await (await fetch(download)).text());
const times = [await fetch(upload, { method: "PUT", body: "it" }), await fetch(upload, { method: "PUT", body: "it" })];
console.log(times[0].status, times[1].headers.get("x-valet-error"));
"""
    )
    (tmp_path / "example.mjs").write_text(code.replace(PORT, str(port)))
    shell = f"""
        valetstore keys create app --scheme s3 --json > app-key.json
        valetstore serve & until curl -sf http://127.0.0.1:{port}/_valet/ready; do sleep 0.2; done
        node example.mjs
    """
    done = run_shell(shell, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("a bird\n200 key_used\n")


# What the examples of each file have made, used by whoever was given it; and the last line that must come of it.
VENDORS_DONE = {
    "docs/GOOGLE.md": (
        """
print(requests.get(download).text, requests.get(download).headers["Content-Disposition"])
print([requests.put(limited, b"new", headers=conditions).status_code for _ in range(2)])
print([requests.get(once).headers.get("X-Valet-Error") for _ in range(2)])
sent = requests.post(form["url"], form["fields"], files={"file": ("dog.txt", b"a dog", "text/plain")})
whole = requests.get(bucket.blob("film.bin").generate_signed_url(life))
print(sent.status_code, answer.status_code, len(whole.content))
""",
        "a cat attachment; filename=\"cat.txt\"\n[200, 412]\n[None, 'key_used']\n201 200 600000\n",
    ),
    "docs/AZURE.md": (
        """
print(cat.download_blob().readall(), film.get_blob_properties().size, names)
try:
    film.upload_blob(b"another", overwrite=True)
except Exception as refused:
    print(refused.error_code)
try:
    BlobClient(base, "photos", "cat.txt", credential={"account_name": account, "account_key": secret}).download_blob()
except Exception as refused:
    print("SharedKey" in str(refused))
""",
        "b'a cat' 5242880 ['cat.txt', 'reel.bin']\nStorageErrorCode.UNAUTHORIZED_BLOB_OVERWRITE\nTrue\n",
    ),
    "docs/CLOUDFRONT.md": (
        """
from urllib.request import urlopen
for url in (one, any_film):
    print(urlopen(url).read())
""",
        "b'intro.mp4\\n'\nb'trailer.mp4\\n'\n",
    ),
    "docs/SWIFT.md": (
        """
told = requests.get(download)
print(told.text, told.headers["Content-Disposition"], requests.get(another).text, requests.put(another).status_code)
""",
        'a cat attachment; filename="cat.txt" a cat 401\n',
    ),
}

FILMS = """
valetstore keys create films
for name in intro.mp4 trailer.mp4 list.m3u8; do
    echo $name | curl -sf -T - "$(valetstore sign PUT /films/$name --key films)"
done
"""


@pytest.mark.parametrize("file", VENDORS_DONE)
def test_a_vendor_s_examples_in_python_open_the_door(file: str, tmp_path: Path) -> None:
    """The commands and the Python of one file; what they sign downloads, uploads, and is held to its conditions."""
    port, (code, said) = free_port(), VENDORS_DONE[file]
    (tmp_path / "example.py").write_text(("".join(blocks(file, "python")) + code).replace(PORT, str(port)))
    commands = "".join(blocks(file, "sh"))
    done = run_shell(ready_with(commands, port, f"{sys.executable} example.py"), tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(said), done.stdout
    if file in ("docs/GOOGLE.md", "docs/SWIFT.md"):
        assert '<form action="' in (tmp_path / "upload.html").read_text()


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        (
            "docs/GOOGLE.md",
            """
console.log(await (await fetch(download)).text(), (await fetch(download)).headers.get("x-valet-error"));
""",
            "a bird key_used\n",
        ),
        (
            "docs/CLOUDFRONT.md",
            """
for (const path of ["/films/list.m3u8", "/photos/list.m3u8"]) {
  const answer = await fetch(base + path, { headers: { Cookie: header } });
  if (answer.ok) console.log((await answer.text()).trim(), answer.status, answer.headers.get("x-valet-error"));
  else console.log(answer.status, answer.headers.get("x-valet-error"));
}
""",
            "list.m3u8 200 null\n403 path_not_allowed\n",
        ),
    ],
)
def test_a_vendor_s_examples_in_javascript_open_the_door(file: str, code: str, said: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "node_modules").symlink_to(node_modules())
    (tmp_path / "example.mjs").write_text(("".join(blocks(file, "js")) + code).replace(PORT, str(port)))
    making = "".join(line for line in blocks(file, "sh")[0].splitlines(keepends=True) if " app " in line)
    done = run_shell(ready_with(making, port, "node example.mjs"), tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(said), done.stdout


def ready_with(commands: str, port: int, last: str) -> str:
    """A file's own commands, a gateway that runs and has films, and then this one."""
    ready = f"valetstore serve & until curl -sf http://127.0.0.1:{port}/_valet/ready; do sleep 0.2; done\n"
    return commands + ready + FILMS + last


GOOGLE = {action.name for table in (google_operations._BUCKET, google_operations._OBJECT) for action in table.values()}
AZURE_ACTIONS = {
    action.name: action.operation
    for table in (azure_operations._SERVICE, azure_operations._CONTAINERS, azure_operations._BLOBS)
    for action in table.values()
}


@pytest.mark.parametrize(
    ("file", "served"),
    [
        ("docs/S3.md", set(S3)),
        ("docs/GOOGLE.md", GOOGLE),
        ("docs/AZURE.md", set(AZURE)),
        ("docs/CLOUDFRONT.md", set(CLOUDFRONT)),
        ("docs/SWIFT.md", set(SWIFT)),
    ],
)
def test_the_operations_that_the_docs_name_are_those_that_are_served(file: str, served: set[str]) -> None:
    table = part_text(file, "Operations")
    assert named(table.partition("| served")[2].partition("\n\n")[0]) == served


def named(text: str) -> set[str]:
    """The operations that a table names."""
    return set(re.findall(r"\b(?:[A-Z][a-z]+){2,}(?:V2)?\b", text))


def test_what_a_profile_s_operations_mean_to_azure_s_clients_is_what_is_judged() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", part_text("docs/AZURE.md", "Keys"), re.MULTILINE))
    assert {name: operation for operation, row in rows.items() for name in named(row)} == AZURE_ACTIONS


CODES = {
    "docs/S3.md": {code: status for code, (status, _) in S3_SENTENCES.items()},
    "docs/GOOGLE.md": {code: status for code, (status, _) in GOOGLE_SENTENCES.items()},
    "docs/AZURE.md": {code: status for code, (status, _) in AZURE_SENTENCES.items()},
    "docs/CLOUDFRONT.md": {row.code: row.status for row in CLOUDFRONT_ROWS.values()}
    # Those that a key's own faults have are said where they are found.
    | dict.fromkeys(("InvalidKey", "MalformedSignature", "MalformedPolicy"), 403),
}


@pytest.mark.parametrize("file", CODES)
def test_the_vendors_codes_in_the_docs_are_those_that_are_answered(file: str) -> None:
    rows = re.findall(r"((?:[A-Z]\w+, )*[A-Z]\w+) ([0-9]{3})\b", part_text(file, "Errors"))
    found = {name: int(status) for names, status in rows for name in names.split(", ")}
    assert len(found) > 5
    assert found.items() <= CODES[file].items()


def test_swift_s_statuses_in_the_docs_are_those_that_are_answered() -> None:
    """A row for each status, which names what it stands for."""
    table = part_text("docs/SWIFT.md", "Errors")
    for code, said in {
        "key_used": "401", "ttl_too_long": "401", "type_not_allowed": "415", "too_large": "413", "too_small": "422",
        "exists": "412", "rate_limited": "429", "replay_unavailable": "503",
    }.items():  # fmt: skip
        assert SWIFT_STATUSES[code] == int(said)
        assert re.search(rf"\b{said}\b", table), code


def test_every_dialect_has_its_row_and_its_file() -> None:
    table = (ROOT / "docs/KEYS.md").read_text().partition("## ")[0]
    files = {"s3": "S3", "gcs": "GOOGLE", "azure": "AZURE", "cloudfront": "CLOUDFRONT", "swift": "SWIFT"}
    assert files.keys() == VENDORS.keys()
    for scheme, name in files.items():
        assert f"(docs/{name}.md)" in table
        assert f"--scheme {scheme}" in (ROOT / f"docs/{name}.md").read_text()


def test_the_settings_that_the_docs_name_exist() -> None:
    tables = tomllib.loads((ROOT / "config/full.toml").read_text())
    found = re.findall(r"`(listen|s3|gcs|cloudfront|swift)\.([a-z0-9-]+)`", (ROOT / "docs/OPERATIONS.md").read_text())
    assert found
    for table, name in found:
        assert name in tables[table]


def test_profiles_and_a_rotation_as_the_docs_show_them(tmp_path: Path) -> None:
    commands = "".join(blocks("docs/KEYS.md", "sh"))
    port = free_port()
    ready = f"valetstore serve & until curl -sf http://127.0.0.1:{port}/_valet/ready; do sleep 0.2; done\n"
    done = run_shell(ready + commands, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "retires in" in done.stdout


def part_text(file: str, heading: str) -> str:
    """What is below one heading, up to the next."""
    text = (ROOT / file).read_text()
    return re.split(r"^##+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def part(file: str, heading: str, language: str) -> str:
    """The code blocks below one heading, up to the next."""
    below = part_text(file, heading)
    found = "".join(code for kind, reason, code in BLOCK.findall(below) if kind == language and not reason)
    assert found, heading
    return found


def serving(port: int) -> str:
    """Shell functions in the place of the service manager, and a gateway that runs."""
    return f"""
        systemctl() {{
            case $1 in
                stop) kill $gateway; wait $gateway;;
                start) valetstore serve & gateway=$!
                    until curl -s -o /dev/null http://127.0.0.1:{port}/_valet/live; do sleep 0.2; done;;
            esac
        }}
        systemctl start
    """


def test_revoking_and_rotating_as_the_operations_show_them(tmp_path: Path) -> None:
    port = free_port()
    commands = part("docs/OPERATIONS.md", "Keys that must end", "sh") + part("docs/OPERATIONS.md", "A rotation", "sh")
    done = run_shell(serving(port) + commands, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Revoked:") == 2
    assert "is undone" in done.stdout
    assert re.search(r"app-1 .*retires in", done.stdout)


def test_a_repair_as_the_operations_show_it(tmp_path: Path) -> None:
    """Both logs are damaged, then repaired; what could be read is revoked still."""
    port = free_port()
    url = f"$(valetstore sign GET /photos/cat.txt --base-url http://127.0.0.1:{port}"
    before = f"""
        echo 'a cat' | curl -sf -T - "$(valetstore sign PUT /photos/cat.txt --base-url http://127.0.0.1:{port})"
        once="{url} --once)"; curl -sf "$once"
        valetstore revoke --subject user-1
        systemctl stop; rm valet-data/state/replay.log; printf x | dd of=valet-data/state/revocations.log conv=notrunc
        systemctl start
        curl -s "$once"; curl -s "{url})"
    """
    after = f"""
        curl -s "$once"; curl -sf "{url})"
    """
    repair = part("docs/OPERATIONS.md", "When one is damaged", "sh")
    done = run_shell(serving(port) + before + repair + after, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("revocation_unavailable") == 2
    assert "user-1" in done.stdout.rpartition("revocations that could be read")[2]
    assert "key_used" in done.stdout
    assert done.stdout.endswith("a cat\n")


def test_a_backup_restored_as_the_operations_say_lets_no_used_key_in(tmp_path: Path) -> None:
    """A copy of the directory while it is served, without what the docs leave out; then a repair."""
    port = free_port()
    url = f"$(valetstore sign GET /photos/cat.txt --base-url http://127.0.0.1:{port}"
    left_out = re.findall(r"--exclude '(state/[^']+)'", (ROOT / "docs/OPERATIONS.md").read_text())
    assert left_out == ["state/replay.*", "state/*.mark"]
    script = f"""
        echo 'a cat' | curl -sf -T - "$(valetstore sign PUT /photos/cat.txt --base-url http://127.0.0.1:{port})"
        valetstore revoke --subject user-1
        once="{url} --once)"; gone="{url} --sub user-1)"
        tar --xattrs {" ".join(f"--exclude '{name}'" for name in left_out)} -cf backup.tar valet-data
        curl -sf "$once"
        systemctl stop; rm -r valet-data; tar --xattrs -xf backup.tar
        valetstore repair --yes
        systemctl start
        curl -s "$once"; curl -s "$gone"; curl -sf "{url})"
    """
    done = run_shell(serving(port) + script, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = done.stdout.rpartition("keys of limited use that were signed before")[2]
    assert "key_used" in answers
    assert "key_revoked" in answers
    assert answers.endswith("a cat\n")


def test_the_metrics_that_the_operations_name_exist() -> None:
    text = (ROOT / "docs/OPERATIONS.md").read_text()
    exposed = Metrics().exposition().decode() + "".join(metrics_module._ASKED)
    for name in re.findall(r"`(valetstore_\w+)`", text):
        assert name in exposed, name


def test_the_table_of_refusals_in_the_docs_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs/HTTP.md").read_text()
    table = dict(re.findall(r"`([a-z_]+)`(?: \([^)]*\))? \| ([0-9]{3})", text))
    assert {code: int(status) for code, status in table.items()} == {
        code: refusal.status for code, refusal in REFUSALS.items()
    }


def test_every_link_to_a_file_leads_somewhere() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"\b((?:docs|config|systemd|bench)/[\w./-]+\.\w+)", file.read_text()):
            assert (ROOT / name).exists(), f"{file.name} names {name}"
