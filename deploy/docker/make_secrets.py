"""Make what docker-compose.yml mounts as secrets: certificates, a token, keys and the database password.

``.venv/bin/python deploy/docker/make_secrets.py [DIRECTORY]`` (default: ``secrets`` beside this file). Each secret gets
mode 0600 and is made once: to replace something, remove its files and run this again.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from autopack_kit import certs
from autopack_kit.auth import ensure_signing_key, ensure_tokens_file
from autopack_kit.errors import AutopackError
from autopack_kit.secret_files import write_secret

HERE = Path(__file__).resolve().parent


def make_database_password(directory: Path) -> None:
    """The password as PostgreSQL's image reads it, and as its clients do (one line of a .pgpass file)."""
    if (directory / "postgres_password").exists():
        return
    password = secrets.token_urlsafe(32)
    write_secret(directory / "pgpass", f"postgres:5432:autopack:autopack:{password}\n".encode(), replace=True)
    write_secret(directory / "postgres_password", password.encode())


def main() -> int:
    """Make what is not there yet."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "secrets"
    try:
        if not (directory / "server.pem").exists():
            certs.init(directory)
        ensure_tokens_file(directory / "tokens.toml")  # and the admin's token itself, in the file `token`
        make_database_password(directory)
        ensure_signing_key(directory / "signing.key")
    except AutopackError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{directory} holds {', '.join(sorted(path.name for path in directory.iterdir()))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
