"""Settings of the telemetry service that can be wrong."""

from __future__ import annotations

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_kit.settings import load
from autopack_telemetry.settings import TelemetrySettings

NAME = "AUTOPACK_TELEMETRY_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    "url", ["http://telemetry:4318", "https://otlp.example.org", "http://[::1]:4318", "https://gate.example/otlp/"]
)
def test_an_endpoint_for_agents_is_a_url(url: str) -> None:
    assert load(TelemetrySettings, {NAME: url, "HOME": "/h"}).otlp_endpoint == url


@pytest.mark.parametrize(
    "url",
    ["telemetry:4318", "unix:/run/socket", "http://user:secret@host", "http://host/?token=x", "http://a b", "http://"],
)
def test_what_is_no_url_or_holds_a_secret_is_refused_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(InvalidArgument, match=NAME):
        load(TelemetrySettings, {NAME: url, "HOME": "/h"})


@pytest.mark.parametrize("days", ["-1", "36501", "a year"])
def test_retention_that_cannot_be_is_refused_with_the_name_of_the_setting(days: str) -> None:
    with pytest.raises(InvalidArgument, match="AUTOPACK_TELEMETRY_RETENTION_DAYS"):
        load(TelemetrySettings, {"AUTOPACK_TELEMETRY_RETENTION_DAYS": days, "HOME": "/h"})
