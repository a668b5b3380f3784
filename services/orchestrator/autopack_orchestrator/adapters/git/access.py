"""How git reaches another host: with which secret, over which protocol, and with nothing else of this server.

A secret is a file of the operator's that a batch names; it is in no argument, no variable and no URL. The user's own
git configuration, ``.netrc``, ssh configuration, agent and keys are not used: whoever may name a URL is not the user.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autopack_kit.errors import FailedPrecondition, NotFound, PermissionDenied
from autopack_kit.secret_files import read_secret

from autopack_orchestrator.core.urls import RemoteUrl

__all__ = ["Access", "Credentials"]

CONNECT_TIMEOUT_S = 30  # a host that does not answer by then is not there
STALLED_S = 60  # without any progress
KNOWN_HOSTS = "known_hosts"
_PROXIES = (
    "ALL_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "GIT_SSL_CAINFO",
)
#: The first line of the file is a token or ``user:password``. Hosting services take any user beside a token.
_HELPER = (
    '!f() { test "$1" = get || exit 0; IFS= read -r line <"$AUTOPACK_GIT_SECRET" || test -n "$line" || exit 1;'
    ' case "$line" in *:*) user=${line%%:*}; line=${line#*:};; *) user=x-access-token;; esac;'
    ' printf \'username=%s\\npassword=%s\\n\' "$user" "$line"; }; f'
)


@dataclass(frozen=True, slots=True)
class Access:
    """Configuration and variables of a git command that may reach another host."""

    config: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The operator's files: ``<directory>/<tenant>/<name>`` for one tenant, ``<directory>/<name>`` for all of them.

    ``<name>.hosts`` beside one names the hosts (white space between them) that it may be sent to; without it, any
    allowed host. ``known_hosts`` in the directory holds the keys of ssh servers.
    """

    directory: Path | None

    async def access(self, url: RemoteUrl, name: str, tenant: str) -> Access:
        """What git needs to reach ``url`` with the credential ``name`` (empty = none).

        Raises:
            NotFound: CREDENTIAL_NOT_FOUND. PermissionDenied: CREDENTIAL_HOST. FailedPrecondition: its file is unusable.
        """
        return await asyncio.to_thread(self._access, url, name, tenant)

    def _access(self, url: RemoteUrl, name: str, tenant: str) -> Access:
        proxies = {variable: os.environ[variable] for variable in _PROXIES if variable in os.environ}
        env = {**proxies, "GIT_ALLOW_PROTOCOL": url.scheme, "HOME": "/dev/null", "SSH_AUTH_SOCK": ""}
        secret = self.file(name, tenant, url.authority) if name else None
        if secret is not None:
            read_secret(secret)  # git reads it: here only whether it may be used
        if url.scheme == "ssh":
            return Access((), env | {"GIT_SSH_COMMAND": self._ssh(secret), "GIT_SSH_VARIANT": "ssh"})
        config = (
            "http.followRedirects=false",
            "http.lowSpeedLimit=1",
            f"http.lowSpeedTime={STALLED_S}",
            "credential.helper=",
        )
        if secret is None:
            return Access(config, env)
        return Access((*config, f"credential.helper={_HELPER}"), env | {"AUTOPACK_GIT_SECRET": str(secret)})

    def file(self, name: str, tenant: str, authority: str) -> Path:
        """The file of a credential that may be sent to ``authority`` (``host`` or ``host:port``). Blocks briefly.

        Raises:
            NotFound: CREDENTIAL_NOT_FOUND. PermissionDenied: CREDENTIAL_HOST.
        """
        file = self._find(name, tenant)
        hosts = file.with_name(f"{name}.hosts")
        if hosts.is_file() and authority not in hosts.read_text().split():
            raise PermissionDenied(
                f"The credential {name!r} may not be sent to {authority}.",
                reason="CREDENTIAL_HOST",
                remedy=f"Name another one, or ask the operator to add the host to {hosts.name}.",
                metadata={"credential": name, "host": authority},
            )
        return file

    def _find(self, name: str, tenant: str) -> Path:
        if self.directory is not None:
            own = [self.directory / tenant / name] if _is_plain(tenant) else []
            for file in (*own, self.directory / name):
                if file.is_file():
                    return file
        raise NotFound(
            f"There is no credential {name!r}.",
            reason="CREDENTIAL_NOT_FOUND",
            remedy="Ask the operator for its name, or to put a file of mode 0600 with a token, an ssh key or the"
            " whole value of a header into AUTOPACK_ORCHESTRATOR_CREDENTIALS_DIR.",
            metadata={"credential": name},
        )

    def _ssh(self, key: Path | None) -> str:
        if key is None or self.directory is None:
            raise FailedPrecondition(
                "ssh needs a credential: the name of a key.",
                reason="CREDENTIAL_REQUIRED",
                remedy="Name one in the source.",
            )
        options = {
            "BatchMode": "yes", "StrictHostKeyChecking": "yes", "GlobalKnownHostsFile": "/dev/null",
            "UserKnownHostsFile": f'"{self.directory / KNOWN_HOSTS}"',
            "UpdateHostKeys": "no", "IdentitiesOnly": "yes", "IdentityAgent": "none",
            "PreferredAuthentications": "publickey", "ClearAllForwardings": "yes", "ForwardAgent": "no",
            "PermitLocalCommand": "no", "ControlPath": "none", "ConnectTimeout": CONNECT_TIMEOUT_S,
            "ServerAliveInterval": 15, "ServerAliveCountMax": STALLED_S // 15,
        }  # fmt: skip
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return shlex.join(["ssh", "-F", "/dev/null", *words, "-i", str(key)])


def _is_plain(tenant: str) -> bool:
    return bool(tenant) and tenant not in (".", "..") and "/" not in tenant and "\0" not in tenant
