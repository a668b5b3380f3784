"""HardeningService over a real server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client import AsyncClient, connect
from autopack_hardening import create
from autopack_hardening.settings import HardeningSettings
from autopack_kit.errors import InvalidArgument, NotFound, ResourceExhausted
from autopack_kit.testing import running

PYTHON = Command(argv=Argv(words=["python", "app.py"]))
PIP = Command(argv=Argv(words=["pip", "install", "-r", "requirements.txt"]), cwd=".")
MISSING = b"caf\xe9\r\n\x1b[31mModuleNotFoundError: No module named 'yaml'\x1b[0m\n"


def facts(at_base: bool) -> pb.ProjectFacts:
    dependency = pb.DeclaredDependency(name="PyYAML", path="requirements.txt", declared_at_base=at_base)
    return pb.ProjectFacts(workdir=".", ecosystem="python", install=[PIP], dependencies=[dependency])


async def test_a_declared_dependency_is_answered_with_the_projects_own_install(client: AsyncClient) -> None:
    request = pb.DiagnoseRequest(command=PYTHON, exit_code=1, output=MISSING, projects=[facts(True)])
    answer = await client.hardening.Diagnose(request)
    assert answer.outcome == pb.DiagnoseResponse.OUTCOME_MATCHED
    (diagnosis,) = answer.diagnoses
    assert (diagnosis.pattern_id, diagnosis.priority, diagnosis.line) == ("py.module_not_found", 1, 2)
    assert list(diagnosis.aliases) == ["python_missing_dep"]
    assert diagnosis.mitigation.approval == pb.APPROVAL_AUTOMATIC
    assert diagnosis.excerpt == b"ModuleNotFoundError: No module named 'yaml'"
    assert dict(diagnosis.captures) == {"module": "yaml", "name": "yaml", "distribution": "PyYAML"}
    assert diagnosis.mitigation.automatic
    assert diagnosis.mitigation.risk == pb.RISK_LOW
    assert diagnosis.mitigation.verify
    (action,) = diagnosis.mitigation.actions
    assert list(action.install_declared.commands) == [PIP]
    assert action.preconditions[-1].declared_at_base.name == "PyYAML"


async def test_a_declaration_of_the_run_itself_needs_consent(client: AsyncClient) -> None:
    request = pb.DiagnoseRequest(command=PYTHON, exit_code=1, output=MISSING, projects=[facts(False)])
    (diagnosis,) = (await client.hardening.Diagnose(request)).diagnoses
    assert not diagnosis.mitigation.automatic
    assert "PyYAML in requirements.txt" in diagnosis.mitigation.consent_reason


@pytest.mark.parametrize(
    ("request_", "outcome"),
    [
        (pb.DiagnoseRequest(exit_code=0, output=MISSING), "OUTCOME_SUCCEEDED"),
        (pb.DiagnoseRequest(exit_code=3, output=b"something"), "OUTCOME_NO_MATCH"),
        (pb.DiagnoseRequest(signal=2), "OUTCOME_NO_OUTPUT"),
        (pb.DiagnoseRequest(exit_code=1, output=b"\n"), "OUTCOME_NO_OUTPUT"),
    ],
)
async def test_every_outcome_is_explicit(client: AsyncClient, request_: pb.DiagnoseRequest, outcome: str) -> None:
    answer = await client.hardening.Diagnose(request_)
    assert pb.DiagnoseResponse.Outcome.Name(answer.outcome) == outcome
    assert not answer.diagnoses


async def test_every_bad_field_is_named_at_once(client: AsyncClient) -> None:
    dependency = pb.DeclaredDependency(name="", path="../x")
    request = pb.DiagnoseRequest(
        command=Command(cwd="/etc"),
        paths=["a", "/etc/passwd", "a/../../b"],
        projects=[pb.ProjectFacts(workdir="..", ecosystem="python", dependencies=[dependency])],
        scope=[""],
    )
    with pytest.raises(InvalidArgument) as caught:
        await client.hardening.Diagnose(request)
    assert {violation.field for violation in caught.value.violations} == {
        "command.cwd",
        "ending",
        "paths[1]",
        "paths[2]",
        "projects[0].workdir",
        "projects[0].dependencies[0].name",
        "projects[0].dependencies[0].path",
        "scope[0]",
    }


@pytest.mark.parametrize("ending", [{"timed_out": False}, {"signal": 0}, {"signal": -9}])
async def test_an_ending_that_says_nothing_is_refused(client: AsyncClient, ending: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        await client.hardening.Diagnose(pb.DiagnoseRequest(output=b"x", **ending))  # type: ignore[arg-type]


async def test_output_over_the_limit_is_refused_with_the_remedy(client: AsyncClient) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        await client.hardening.Diagnose(pb.DiagnoseRequest(exit_code=1, output=b"x" * ((1 << 20) + 1)))
    assert caught.value.reason == "OUTPUT_TOO_LARGE"
    assert "last 1048576 bytes" in caught.value.remedy


async def test_a_stream_of_100_mb_is_refused_before_it_is_read(client: AsyncClient) -> None:
    with pytest.raises(ResourceExhausted):
        await client.hardening.Diagnose(pb.DiagnoseRequest(exit_code=1, output=b"x" * 100_000_000))
    assert (await client.hardening.Diagnose(pb.DiagnoseRequest(exit_code=0))).outcome


async def test_patterns_are_listed_by_priority_in_pages(client: AsyncClient) -> None:
    first = await client.hardening.ListPatterns(pb.ListPatternsRequest(page_size=4))
    rest = await client.hardening.ListPatterns(pb.ListPatternsRequest(page_size=4, page_token=first.next_page_token))
    ids = [pattern.pattern_id for pattern in (*first.patterns, *rest.patterns)]
    assert len(set(ids)) == len(ids) == 8
    order = [(pattern.priority, pattern.pattern_id) for pattern in (*first.patterns, *rest.patterns)]
    assert order == sorted(order)


async def test_one_pattern_is_shown_with_its_samples(client: AsyncClient) -> None:
    answer = await client.hardening.GetPattern(pb.GetPatternRequest(pattern_id="permission_error"))
    assert answer.pattern.pattern_id.startswith("os.permission_")
    assert "permission_error" in answer.pattern.aliases
    assert answer.pattern.family == "os"
    assert len(answer.pattern.examples) >= 2
    assert answer.pattern.near_misses
    answer = await client.hardening.GetPattern(pb.GetPatternRequest(pattern_id="os.command_not_found"))
    assert 127 in answer.pattern.usual_exit_codes


async def test_an_unknown_pattern_is_not_found(client: AsyncClient) -> None:
    with pytest.raises(NotFound) as caught:
        await client.hardening.GetPattern(pb.GetPatternRequest(pattern_id="nope"))
    assert caught.value.reason == "PATTERN_NOT_FOUND"


async def test_a_disabled_pattern_does_not_match(settings: HardeningSettings) -> None:
    service = create(replace(settings, disabled_patterns=("python_missing_dep",)))
    async with running(service) as target, connect(target.address) as client:
        answer = await client.hardening.Diagnose(pb.DiagnoseRequest(command=PYTHON, exit_code=1, output=MISSING))
    assert answer.outcome == pb.DiagnoseResponse.OUTCOME_NO_MATCH


def test_disabling_an_unknown_pattern_is_an_error_that_names_it() -> None:
    with pytest.raises(InvalidArgument, match="python_missing'"):
        create(HardeningSettings(disabled_patterns=("python_missing",)))


def test_a_service_made_without_settings_reads_them_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPACK_HARDENING_DISABLED_PATTERNS", "nonsense")
    with pytest.raises(InvalidArgument, match="nonsense"):
        create()
