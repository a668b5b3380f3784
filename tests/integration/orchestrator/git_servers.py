"""Real git servers on loopback: smart HTTP with basic authentication, and sshd."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BACKEND = Path("/usr/lib/git-core/git-http-backend")
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
TOKEN = "s3cret-token"
READER = "reader-token"
START_LIMIT_S = 60.0


@dataclass
class HttpGit:
    """A server, where its repositories are, and what it was asked."""

    address: str
    root: Path
    requests: list[str] = field(default_factory=list)
    redirect_to: str = ""

    def url(self, name: str) -> str:
        return f"http://{self.address}/{name}"


@contextmanager
def http_git(root: Path) -> Iterator[HttpGit]:
    """Serve the bare repositories below ``root``; names that begin with ``private`` need a token, and only
    ``TOKEN`` may push."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.git = HttpGit(f"127.0.0.1:{server.server_port}", root)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.git  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(b"")

    def do_PUT(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().strip(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        git: HttpGit = self.server.git  # type: ignore[attr-defined]
        git.requests.append(self.path)
        if git.redirect_to:
            self.send_response(302)
            self.send_header("Location", git.redirect_to + self.path)
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        push = "receive-pack" in self.path
        _, _, encoded = self.headers.get("Authorization", "").partition(" ")
        token = base64.b64decode(encoded).decode().partition(":")[2]
        if (path.startswith("/private") or push) and token not in (TOKEN, READER):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        if "/lfs/" in path:
            self._large_files(git, path, body)
            return
        if push and token != TOKEN:
            self.send_response(403)
            self.end_headers()
            return
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "someone",
        }
        done = subprocess.run([str(BACKEND)], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _large_files(self, git: HttpGit, path: str, body: bytes) -> None:
        """The batch interface of Git LFS and its basic transfer."""
        if path.endswith("/objects/batch"):
            asked = json.loads(body)
            known = [(item, (git.root / "lfs" / item["oid"]).exists()) for item in asked["objects"]]
            wanted = asked["operation"]
            objects = [
                {**item, "actions": {wanted: {"href": f"http://{git.address}/lfs/{item['oid']}"}}}
                if here == (wanted == "download")
                else item
                for item, here in known
            ]
            content = json.dumps({"transfer": "basic", "objects": objects}).encode()
        else:
            file = git.root / "lfs" / path.rpartition("/")[2]
            file.parent.mkdir(exist_ok=True)
            if self.command == "PUT":
                file.write_bytes(body)
            content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class SshGit:
    """An ssh server, its public key as a line of ``known_hosts``, and a private key that it lets in."""

    address: str
    user: str
    known_hosts: str
    key: Path

    def url(self, path: Path) -> str:
        return f"ssh://{self.user}@{self.address}{path}"


@contextmanager
def ssh_git(directory: Path) -> Iterator[SshGit]:
    """A real sshd that lets one key in."""
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(directory / name)], check=True
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\n"
        "PasswordAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin prohibit-password\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=(directory / "log").open("wb"))
    try:
        until = time.monotonic() + START_LIMIT_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (directory / "log").read_text()
            time.sleep(0.05)
        public = (directory / "host.pub").read_text().split()[:2]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        yield SshGit(f"127.0.0.1:{port}", user, f"[127.0.0.1]:{port} {' '.join(public)}\n", directory / "user")
    finally:
        server.terminate()
        server.wait(timeout=START_LIMIT_S)
