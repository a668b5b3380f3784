"""The environment of everything that a run starts: an allow-list, and the workspace's own tools first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

__all__ = ["ALLOWED", "base_environment", "with_tools"]

#: What a program needs to work at all. Deny-lists miss secrets (DATABASE_URL); an allow-list cannot.
ALLOWED = (
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
    # Where package registries are and how to reach them; they hold no secret unless a user writes one into a URL.
    "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy",
    "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
    "PIP_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_INDEX",
    "UV_CACHE_DIR", "UV_INDEX_URL", "npm_config_cafile", "npm_config_registry",
    "GOFLAGS", "GOPROXY", "GONOSUMDB", "GOSUMDB", "CARGO_HOME", "RUSTUP_HOME", "JAVA_HOME", "MAVEN_OPTS",
    "ASDF_DATA_DIR", "FNM_DIR", "GOENV_ROOT", "MISE_DATA_DIR", "NODENV_ROOT", "NVM_DIR", "PYENV_ROOT", "RBENV_ROOT",
    "SDKMAN_DIR", "UV_PYTHON_INSTALL_DIR", "VOLTA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
)  # fmt: skip

#: Makes every package manager install into the workspace, or refuse.
_INTO_WORKSPACE = {
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONNOUSERSITE": "1",
    "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    "POETRY_VIRTUALENVS_CREATE": "true",
    "PIPENV_VENV_IN_PROJECT": "1",
    "PIPENV_IGNORE_VIRTUALENVS": "1",
    "PDM_CHECK_UPDATE": "false",
    "UV_PYTHON_DOWNLOADS": "never",
    "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
    "CI": "true",  # no progress bars, no questions
    "GIT_TERMINAL_PROMPT": "0",
}


def base_environment(server: Mapping[str, str], passed: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a run.

    Args:
        server: the orchestrator's own environment.
        passed: further names that the run may see, already checked against the orchestrator's own list.
        variables: what the run is told about itself.
    """
    allowed = {name: server[name] for name in (*ALLOWED, *passed) if name in server}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **allowed, **_INTO_WORKSPACE, **variables}


def with_tools(environment: Mapping[str, str], virtualenv: PurePath | None, bins: Sequence[PurePath]) -> dict[str, str]:
    """``environment`` with a virtual environment's and ``node_modules``' programs before all others."""
    first = [str(virtualenv / "bin")] if virtualenv is not None else []
    result = dict(environment)
    result["PATH"] = ":".join([*first, *map(str, bins), environment["PATH"]])
    if virtualenv is not None:
        result["VIRTUAL_ENV"] = str(virtualenv)
    return result
