"""Custom patterns, outcomes and unmatched failures over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.hardening.v1 import patterns_pb2 as patterns
from autopack_client import AsyncClient, connect
from autopack_hardening import create
from autopack_hardening.adapters import catalog
from autopack_hardening.adapters.store import SqlStore
from autopack_hardening.settings import HardeningSettings
from autopack_kit.errors import (
    Aborted,
    AlreadyExists,
    AutopackError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from autopack_kit.identity import Principal, Scope
from autopack_kit.testing import running
from structlog.testing import capture_logs

DEFINITION = """
family = "widgets"

[[pattern]]
id = "custom.widget_jammed"
title = "The widget press is jammed"
tier = 2
priority = 4
any = ['(?m)^widget-press: (?P<part>\\w+) is jammed']
suggestions = ["Open the press and free the {part}."]

[[pattern.examples]]
command = "widget-press run"
output = "widget-press: roller is jammed\\n"

[[pattern.examples]]
output = "start\\nwidget-press: belt is jammed at 3\\n"

[[pattern.near_misses]]
output = "widget-press: nothing was jammed\\n"
"""
JAMMED = pb.DiagnoseRequest(exit_code=1, output=b"widget-press: roller is jammed\n")
MISSING = pb.DiagnoseRequest(exit_code=1, output=b"ModuleNotFoundError: No module named 'yaml'\n")


@asynccontextmanager
async def serving(settings: HardeningSettings, tenant: str = "default", *scopes: Scope) -> AsyncIterator[AsyncClient]:
    principal = Principal("somebody", tenant, frozenset(scopes or {Scope.ADMIN}))
    async with running(create(settings), principal=principal) as target, connect(target.address) as client:
        yield client


async def kept(client: AsyncClient, definition: str = DEFINITION) -> int:
    return (await client.hardening.CreatePattern(patterns.CreatePatternRequest(definition=definition))).revision


async def diagnosed(client: AsyncClient, request: pb.DiagnoseRequest = JAMMED) -> list[str]:
    return [one.pattern_id for one in (await client.hardening.Diagnose(request)).diagnoses]


async def shown(client: AsyncClient, id_: str = "custom.widget_jammed") -> pb.Pattern:
    return (await client.hardening.GetPattern(pb.GetPatternRequest(pattern_id=id_))).pattern


async def test_a_new_pattern_works_at_once_and_is_never_automatic(client: AsyncClient) -> None:
    assert await diagnosed(client) == []
    revision = await kept(client)
    (diagnosis,) = (await client.hardening.Diagnose(JAMMED)).diagnoses
    assert diagnosis.pattern_id == "custom.widget_jammed"
    assert diagnosis.mitigation.suggestions[0].text == "Open the press and free the roller."
    assert not diagnosis.mitigation.automatic
    assert await diagnosed(client, MISSING) == ["py.module_not_found"]
    found = await shown(client)
    assert (found.is_custom, found.revision, found.definition) == (True, revision, DEFINITION)
    assert await kept(client) == revision
    (listed,) = (await client.hardening.ListPatterns(pb.ListPatternsRequest(family="widgets"))).patterns
    assert (listed.pattern_id, listed.definition) == ("custom.widget_jammed", "")
    own = await client.hardening.ListPatterns(pb.ListPatternsRequest(custom_only=True))
    assert [one.pattern_id for one in own.patterns] == ["custom.widget_jammed"]


async def test_two_who_change_a_pattern_do_not_overwrite_each_other(client: AsyncClient) -> None:
    revision = await kept(client)
    other = DEFINITION.replace("is jammed')", "is jammed')").replace("press is jammed", "press stands still")
    with pytest.raises(AlreadyExists):
        await kept(client, other)
    request = patterns.UpdatePatternRequest(definition=other, revision=revision)
    new = (await client.hardening.UpdatePattern(request)).revision
    assert new > revision
    with pytest.raises(Aborted) as caught:
        await client.hardening.UpdatePattern(request)
    assert caught.value.metadata["revision"] == str(new)
    assert (await shown(client)).title == "The widget press stands still"
    with pytest.raises(Aborted):
        await client.hardening.DeletePattern(
            patterns.DeletePatternRequest(pattern_id="custom.widget_jammed", revision=revision)
        )
    await client.hardening.DeletePattern(patterns.DeletePatternRequest(pattern_id="custom.widget_jammed", revision=new))
    assert await diagnosed(client) == []
    with pytest.raises(NotFound):
        await client.hardening.DeletePattern(patterns.DeletePatternRequest(pattern_id="custom.widget_jammed"))
    assert await kept(client) > new  # a revision is never used again


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("custom.widget_jammed", "widget.jammed", "begins with custom."),
        ("(?P<part>\\w+) is", "(a+)+(?=b) is", "RE2 refuses"),
        ("(?P<part>\\w+) is", "(?P<part>(?:\\w{1,999}){999}) is", "RE2 refuses"),
        (
            "tier = 2",
            'tier = 2\napproval = "automatic"\nmitigation = {action = "retry_with_backoff"}',
            "never automatic",
        ),
        (
            "tier = 2",
            'tier = 2\napproval = "consent"\nmitigation = {action = "format_disk"}',
            "no action 'format_disk'",
        ),
        (
            "tier = 2",
            'tier = 2\napproval = "consent"\nmitigation = {action = "run_command", run = ["make"]}',
            "may not run_command",
        ),
        (
            "tier = 2",
            'tier = 2\napproval = "consent"\nmitigation = {action = "set_env", env = {CI = "1"}}',
            "may not set_env",
        ),
        ("roller is jammed", "roller broke", "example 1 is not matched"),
        ("nothing was jammed", "nothing is jammed", "near miss 1 is matched"),
        ("family", "[[[", "no valid TOML"),
        ("[[pattern]]", "[[pattern]]\n[[pattern]]", "exactly one"),
        ("'(?m)^widget-press: (?P<part>\\w+) is jammed'", "'(?P<part>[a-z])'", "near miss"),
    ],
)
async def test_a_bad_pattern_is_refused_with_what_is_wrong(client: AsyncClient, old: str, new: str, words: str) -> None:
    assert old in DEFINITION
    with pytest.raises(InvalidArgument, match=words.replace(".", r"\.")) as caught:
        await kept(client, DEFINITION.replace(old, new, 1))
    assert caught.value.reason == "PATTERN_INVALID"
    assert caught.value.violations[0].field == "definition"


async def test_a_pattern_that_takes_the_sample_of_a_built_in_one_is_refused(client: AsyncClient) -> None:
    greedy = DEFINITION.replace("any = [", "any = ['(?m)^ModuleNotFoundError', ").replace(
        "priority = 4", "priority = 1"
    )
    greedy = greedy.replace("{part}", "part")
    with pytest.raises(InvalidArgument) as caught:
        await kept(client, greedy)
    assert any("py." in violation.description for violation in caught.value.violations)


async def test_a_definition_over_the_limit_is_refused(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgument, match="65536"):
        await kept(client, DEFINITION + "#" * (64 << 10))


async def test_only_an_admin_changes_patterns_and_only_of_the_own_tenant(settings: HardeningSettings) -> None:
    async with serving(settings, "one") as client:
        await kept(client)
    async with serving(settings, "two") as client:
        assert await diagnosed(client) == []
        with pytest.raises(NotFound):
            await shown(client)
    async with serving(settings, "one", Scope.RUN) as client:
        assert await diagnosed(client) == ["custom.widget_jammed"]
        for call in (
            client.hardening.CreatePattern(patterns.CreatePatternRequest(definition=DEFINITION)),
            client.hardening.UpdatePattern(patterns.UpdatePatternRequest(definition=DEFINITION, revision=1)),
            client.hardening.DeletePattern(patterns.DeletePatternRequest(pattern_id="custom.widget_jammed")),
        ):
            with pytest.raises(PermissionDenied):
                await call


async def test_a_built_in_pattern_cannot_be_deleted(client: AsyncClient) -> None:
    with pytest.raises(FailedPrecondition, match="DISABLED_PATTERNS"):
        await client.hardening.DeletePattern(patterns.DeletePatternRequest(pattern_id="py.module_not_found"))


async def test_another_replica_knows_a_new_pattern_within_seconds(
    settings: HardeningSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "RELOAD_SECONDS", 0.05)
    async with serving(settings) as one, serving(settings) as other:
        assert await diagnosed(other) == []
        await kept(one)
        await asyncio.sleep(0.1)
        assert await diagnosed(other) == ["custom.widget_jammed"]


async def test_a_pattern_that_this_version_cannot_use_is_disabled_and_told(settings: HardeningSettings) -> None:
    async with serving(settings) as client:
        await kept(client)
    store = await asyncio.to_thread(SqlStore.open, settings.database_url)
    await store.create("default", "custom.old", DEFINITION.replace("tier = 2", "tier = 7"), 1)
    wrong = DEFINITION.replace("custom.widget_jammed", "custom.wrong").replace("belt is", "! is")
    await store.create("default", "custom.wrong", wrong, 1)
    await store.close()
    with capture_logs() as logs:
        async with serving(settings) as client:
            answer = await client.hardening.Diagnose(JAMMED)
            listed = (await client.hardening.ListPatterns(pb.ListPatternsRequest(custom_only=True))).patterns
    assert [one.pattern_id for one in answer.diagnoses] == ["custom.widget_jammed"]
    assert ["custom.old" in warning for warning in answer.warnings].count(True) == 1
    assert {one.pattern_id: bool(one.disabled_reason) for one in listed} == {
        "custom.widget_jammed": False,
        "custom.old": True,
        "custom.wrong": True,
    }
    assert {log["pattern_id"] for log in logs if log["event"] == "custom pattern disabled"} == {
        "custom.old",
        "custom.wrong",
    }


async def test_without_the_database_built_in_patterns_work_with_a_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no database")
    async with serving(HardeningSettings(database_url=f"sqlite:///{blocked}")) as client:
        answer = await client.hardening.Diagnose(MISSING)
        assert [one.pattern_id for one in answer.diagnoses] == ["py.module_not_found"]
        assert "Custom patterns may be missing" in answer.warnings[0]
        assert await diagnosed(client, JAMMED) == []
        listed = await client.hardening.ListPatterns(pb.ListPatternsRequest(page_size=2))
        assert len(listed.patterns) == 2
        assert not listed.patterns[0].HasField("success")
        with pytest.raises(AutopackError) as caught:
            await kept(client)
        assert isinstance(caught.value, Unavailable)
        assert caught.value.reason == "PATTERN_STORE_UNAVAILABLE"


async def test_outcomes_are_counted_once_and_shown_as_a_rate(client: AsyncClient) -> None:
    for number, outcome in enumerate(["FIXED", "FIXED", "PROGRESSED", "UNCHANGED", "WORSE"]):
        request = patterns.RecordOutcomeRequest(
            outcome_id=f"run-1/validate/{number}",
            pattern_id="py.module_not_found",
            outcome=patterns.MitigationOutcome.Value(f"MITIGATION_OUTCOME_{outcome}"),
            run_id="run-1",
        )
        assert not (await client.hardening.RecordOutcome(request)).duplicate
        assert (await client.hardening.RecordOutcome(request)).duplicate
    success = (await shown(client, "py.module_not_found")).success
    assert (success.fixed, success.progressed, success.unchanged, success.worse) == (2, 1, 1, 1)
    assert success.rate == pytest.approx(0.6)
    assert not (await shown(client, "git.merge_conflict")).success.HasField("rate")


async def test_an_outcome_that_says_nothing_is_refused_field_by_field(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await client.hardening.RecordOutcome(patterns.RecordOutcomeRequest(outcome_id="a b", run_id="/"))
    assert {one.field for one in caught.value.violations} == {"outcome_id", "pattern_id", "run_id", "outcome"}
    request = patterns.RecordOutcomeRequest(outcome_id="x", pattern_id="no.such", outcome=1)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await client.hardening.RecordOutcome(request)


@pytest.mark.parametrize(("scope", "allowed"), [(Scope.RUN, True), (Scope.INGEST, False), (Scope.READ, False)])
async def test_who_may_record_outcomes(settings: HardeningSettings, scope: Scope, allowed: bool) -> None:
    """The token inside a run may only ingest: it could praise a pattern, and cannot even ask for one."""
    request = patterns.RecordOutcomeRequest(outcome_id="x", pattern_id="py.module_not_found", outcome=1)  # type: ignore[arg-type]
    async with serving(settings, "default", scope) as client:
        if allowed:
            assert not (await client.hardening.RecordOutcome(request)).duplicate
        else:
            with pytest.raises(PermissionDenied):
                await client.hardening.RecordOutcome(request)


async def unmatched(client: AsyncClient, count: int) -> list[patterns.UnmatchedCluster]:
    """The clusters, once ``count`` failures were counted: that happens behind the callers' backs."""
    async with asyncio.timeout(30):
        while True:
            found = list((await client.hardening.ListUnmatched(patterns.ListUnmatchedRequest())).clusters)
            if sum(one.count for one in found) >= count:
                return found
            await asyncio.sleep(0.02)


def failed(output: str, *words: str) -> pb.DiagnoseRequest:
    command = Command(argv=Argv(words=words)) if words else None
    return pb.DiagnoseRequest(command=command, exit_code=3, output=output.encode())


async def test_unmatched_failures_are_counted_together_without_secrets(client: AsyncClient) -> None:
    token = "ghp_" + "a1B2c3D4e5" * 4
    for output in (
        f"Authorization: Bearer {token}\n\x1b[31mwidget 17 exploded: sprocket error in /tmp/a1\x1b[0m\n",
        "widget 93 exploded: sprocket error in /home/x/b2\n",
    ):
        await diagnosed(client, failed(output, "/usr/bin/widgetize", "all", "--token", token))
    await diagnosed(client, failed("another thing entirely\n"))
    clusters = await unmatched(client, 3)
    first = clusters[0]
    assert first.template == "widget <*> exploded: sprocket error in <*>"
    assert (first.count, list(first.programs)) == (2, ["widgetize"])
    assert [one.command for one in first.examples] == ["widgetize all"] * 2
    assert first.examples[0].exit_code == 3
    assert "\x1b" not in first.examples[0].output
    assert all(token not in str(one) and "a1B2c3" not in str(one) for one in clusters)
    assert [one.count for one in clusters] == [2, 1]


async def test_a_skeleton_is_a_pattern_that_only_lacks_words(client: AsyncClient) -> None:
    for number in (17, 93):
        await diagnosed(client, failed(f'x\nwidget {number} exploded: \'sprocket\\d\' """ error\n', "widgetize"))
    (cluster,) = await unmatched(client, 2)
    await kept(client, cluster.skeleton)
    assert await diagnosed(client, failed('widget 5 exploded: \'sprocket\\d\' """ error\n', "widgetize")) != []
    # What it explains is unmatched no more.
    assert not (await client.hardening.ListUnmatched(patterns.ListUnmatchedRequest())).clusters


async def test_clusters_come_in_pages(client: AsyncClient) -> None:
    words = ["one", "two words", "three words here", "four words are here", "five words are over here"]
    for index, line in enumerate(words):
        for _ in range(index // 2 + 1):
            await diagnosed(client, failed(line))
    everything = [one.template for one in await unmatched(client, 9)]
    found: list[str] = []
    token = ""
    while token or not found:
        answer = await client.hardening.ListUnmatched(patterns.ListUnmatchedRequest(page_size=2, page_token=token))
        found += [one.template for one in answer.clusters]
        token = answer.next_page_token
    assert found == everything
    assert sorted(found) == sorted(words)


@pytest.mark.parametrize("keeps", [True, False])
async def test_what_is_unmatched_is_kept_only_where_it_may_be(settings: HardeningSettings, keeps: bool) -> None:
    service = create(replace(settings, unmatched=keeps))
    async with running(service) as target, connect(target.address) as client:
        await diagnosed(client, failed("another thing entirely"))
        await service._unmatched.drained()
        found = await client.hardening.ListUnmatched(patterns.ListUnmatchedRequest())
    assert len(found.clusters) == int(keeps)
