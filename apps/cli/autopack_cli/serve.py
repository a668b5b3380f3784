"""From names to running services: the only module of the apps that knows the services' packages."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from autopack_kit.bind import Bind
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import ServerOptions, Service
from autopack_kit.settings import check_unknown, load, names

__all__ = [
    "SERVICES",
    "STATEFUL",
    "Storage",
    "allowed_roots",
    "check_environment",
    "create",
    "for_agents",
    "settings_classes",
    "storages",
]

SERVICES: Mapping[str, str] = {
    "toolchain": "ToolchainSettings",
    "hardening": "HardeningSettings",
    "intention": "IntentionSettings",
    "orchestrator": "OrchestratorSettings",
    "telemetry": "TelemetrySettings",
}
"""Every service and the class of its settings; ``autopack_<name>.create(settings)`` makes it."""
STATEFUL = ("hardening", "intention", "orchestrator", "telemetry")
"""Those that keep something in a database."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The database of a service.

    Attributes:
        service: its name, which is the database's schema on PostgreSQL.
        url: as its settings say.
        migrations: directory of its revisions.
    """

    service: str
    url: str
    migrations: Path


def storages(names: Sequence[str], environ: Mapping[str, str]) -> Iterator[Storage]:
    """The databases of services, each looked up when its turn comes.

    Raises:
        InvalidArgument: a setting is wrong, or ``SERVICE_WITHOUT_DATABASE``.
        FailedPrecondition: ``SERVICE_NOT_INSTALLED``.
    """
    for name in names:
        settings: Any = load(_settings_class(name), environ)
        if name not in STATEFUL:
            raise InvalidArgument(
                f"The {name} service has no database.",
                reason="SERVICE_WITHOUT_DATABASE",
                remedy=f"Name some of {', '.join(STATEFUL)}, or none for all of them.",
                metadata={"service": name},
            )
        # The orchestrator's default lies among its other files.
        default = load(KitSettings, environ).data_dir / name / f"{name}.sqlite3"
        migrations: Path = _module(name, f"autopack_{name}.adapters.store").MIGRATIONS
        yield Storage(name, settings.database_url or f"sqlite:///{default}", migrations)


def create(name: str, environ: Mapping[str, str], *, allowed_roots: Sequence[Path] = (), **options: Any) -> Service:
    """A service from its settings.

    Args:
        name: a key of :data:`SERVICES`.
        environ: where its settings are read from.
        allowed_roots: directories that it may read besides those of its settings, if it reads directories at all.
        options: for its factory.

    Raises:
        InvalidArgument: a setting is wrong.
        FailedPrecondition: ``SERVICE_NOT_INSTALLED``: the packages that it needs are not there.
    """
    settings = load(_settings_class(name), environ)
    if allowed_roots and any(field.name == "allowed_roots" for field in fields(settings)):
        settings = replace(settings, allowed_roots=(*settings.allowed_roots, *allowed_roots))
    factory: Callable[..., Service] = _module(name, f"autopack_{name}").create
    return factory(settings, **options)


def for_agents(options: ServerOptions, services: Collection[str]) -> ServerOptions:
    """With an HTTP port on loopback where there is none and agents run beside telemetry: it is how they report.

    Plaintext, as it is for this machine alone; what runs there has a token for its own run.
    """
    if options.http_bind is not None or not {"orchestrator", "telemetry"} <= set(services):
        return options
    return replace(options, http_bind=Bind.parse("127.0.0.1:0"))


def allowed_roots(name: str, environ: Mapping[str, str]) -> Sequence[Path]:
    """The directories that a service may use by its own settings."""
    roots: Sequence[Path] = getattr(load(_settings_class(name), environ), "allowed_roots", ())
    return roots


def settings_classes(services: Sequence[str] = tuple(SERVICES)) -> list[type[Any]]:
    """The settings of the process and of these services."""
    return [KitSettings, *(_settings_class(name) for name in services)]


def check_environment(used: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
    """Refuses a variable that no service reads: a misspelt setting is one that silently does nothing.

    Args:
        used: the services that run in this process; the others are imported only for a variable that these do not know.
        environ: the variables.

    Raises:
        InvalidArgument: ``SETTING_UNKNOWN``.
    """
    try:
        check_unknown(environ, _names(used))
    except InvalidArgument:
        check_unknown(environ, _names(tuple(SERVICES)))


def _names(services: Sequence[str]) -> frozenset[str]:
    return frozenset[str]().union(*(names(cls) for cls in settings_classes(services)))


def _settings_class(name: str) -> type[Any]:
    if name not in SERVICES:
        raise InvalidArgument(
            f"There is no service {name[:40]!r}.",
            reason="SERVICE_UNKNOWN",
            remedy=f"Use one of {', '.join(SERVICES)}, or --all.",
            metadata={"service": name[:40]},
        )
    found: type[Any] = getattr(_module(name, f"autopack_{name}.settings"), SERVICES[name])
    return found


def _module(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"The {name} service needs the package {error.name!r}, which is not installed.",
            reason="SERVICE_NOT_INSTALLED",
            remedy=f"Install it: pip install 'autopack[{name}]'.",
            metadata={"service": name, "package": error.name or ""},
        ) from error
