"""Intentions from issues and Markdown files, as people write them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from autopack_intention import Intention, build_context, convert, parse_intention
from autopack_intention.core.goal_paths import Sense, mentions
from autopack_intention.core.goal_sections import Part, parts_named
from autopack_intention.core.goal_text import MAX_TEXT_BYTES, MAX_TEXT_LINES
from autopack_kit.errors import InvalidArgument
from autopack_kit.globs import out_of_scope
from hypothesis import given, settings
from hypothesis import strategies as st

SPECIFICATION = """\
---
name: Feature
labels: [http]
---
<!-- Say what is to be done.
## Goal
-->

# Retry failed requests in the HTTP client

Objective
---------

Use exponential backoff with jitter. <!-- how much? -->

```sh
# Constraints
pytest tests/http
```

## Must

- No new dependency
- You must not:
  - touch the public API
  - [ ] block the event loop

### Performance
- under 1 ms

## Acceptance criteria
1. [x] `pytest tests/http` passes
2. a test shows the backoff

## In scope
- `src/http/` - the client
- tests/http/**/*.py, README.md

## Won\N{RIGHT SINGLE QUOTATION MARK}t do
- Rewrite the client
- Do not touch `src/http/generated/`

## Additional information
Seen on production.
"""


def only(text: str, title: str = "T") -> Intention:
    intention, warnings = parse_intention(text, title)
    assert warnings == ()
    return intention


def test_every_section_of_a_specification_is_found() -> None:
    assert only(SPECIFICATION, "") == Intention(
        title="Retry failed requests in the HTTP client",
        description="Use exponential backoff with jitter.\n\n```sh\n# Constraints\npytest tests/http\n```",
        constraints=(
            "No new dependency",
            "You must not: touch the public API",
            "You must not: block the event loop",
            "Performance: under 1 ms",
        ),
        acceptance=("`pytest tests/http` passes", "a test shows the backoff"),
        scope=("src/http/", "tests/http/**/*.py", "README.md"),
        non_goals=("Rewrite the client",),
        non_goal_globs=("src/http/generated/",),
        notes=("`src/http/` - the client", "Seen on production."),
    )


def test_goal_among_the_examples_is_read_whole() -> None:
    intention = only((Path(__file__).parents[3] / "examples/goal.md").read_text(), "")
    assert intention.title == "Retry failed requests with exponential backoff"
    assert intention.constraints[1:] == (
        "You must not: retry a request that is not idempotent",
        "You must not: add a dependency",
    )
    assert (intention.scope, intention.non_goal_globs) == (("kit/", "tests/unit/kit/"), ("kit/autopack_kit/db/",))
    assert (len(intention.acceptance), len(intention.non_goals), len(intention.notes)) == (2, 1, 1)


def test_form_of_an_issue_tracker_is_description_but_for_what_is_known() -> None:
    issue = """\
### What happened?

The login loops for ever.

### Steps to reproduce

1. Open /login
2. Wait

### Expected behavior

The page of the user opens.

### Additional context

_No response_
"""
    intention = only(issue, "Login loops")
    assert intention.title == "Login loops"
    assert "### What happened?\n\nThe login loops for ever." in intention.description
    assert "1. Open /login\n2. Wait" in intention.description
    assert intention.acceptance == ("The page of the user opens.",)
    assert intention.notes == ()


@pytest.mark.parametrize(
    ("heading", "part"),
    [
        ("Goal", Part.GOAL), ("OBJECTIVE", Part.GOAL), ("Task:", Part.GOAL), ("1. Summary", Part.GOAL),
        ("Description", Part.GOAL), ("Problem", Part.GOAL), ("Constraints", Part.CONSTRAINTS),
        ("Requirements", Part.CONSTRAINTS), ("Must", Part.CONSTRAINTS), ("Must not", Part.FORBIDDEN),
        ("Rules", Part.CONSTRAINTS), ("Acceptance", Part.ACCEPTANCE), ("**Acceptance Criteria**", Part.ACCEPTANCE),
        ("Done when", Part.ACCEPTANCE), ("Definition of Done (draft)", Part.ACCEPTANCE), ("Tests", Part.ACCEPTANCE),
        ("Scope", Part.SCOPE), ("In scope", Part.SCOPE), ("Files", Part.SCOPE), ("May change", Part.SCOPE),
        ("Non-goals", Part.NON_GOALS), ("Out-of-scope", Part.NON_GOALS), ("Won't do", Part.NON_GOALS),
        ("Do not touch", Part.NON_GOALS), ("Notes", Part.NOTES), ("Context & background", Part.NOTES),
        ("Additional information", Part.NOTES),
    ],
)  # fmt: skip
def test_heading_is_understood(heading: str, part: Part) -> None:
    assert parts_named(heading) == {part}


def test_heading_of_two_parts_is_described_and_told() -> None:
    intention, warnings = parse_intention("# T\n## Constraints and acceptance\n- fast\n")
    assert intention.constraints == intention.acceptance == ()
    assert "- fast" in intention.description
    assert "Acceptance and Constraints" in warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        "**Goal:** Fix the login loop\n\n**Constraints:**\n- Keep the API\n**Scope:** src/login/\n",
        "__Goal__\nFix the login loop\n\n__Constraints__:\n\n- Keep the API\n\n__Scope:__ `src/login/`",
        "Goal: Fix the login loop\nConstraints: Keep the API\nScope: src/login/",
        "- **Goal:** Fix the login loop\n- **Constraints:** Keep the API\n- **Scope**\n  - src/login/\n",
        "# Goal\nFix the login loop\n# Constraints\n* [ ] Keep the API\n# Scope\n```\nsrc/login/\n```\n",
        "Goal\n====\nFix the login loop\n\nConstraints\n---\n> Keep the API\n\n###### Scope ######\nsrc/login/",
    ],
)
def test_labels_and_headings_of_any_form_mean_the_same(text: str) -> None:
    assert only(text, "") == Intention("Fix the login loop", constraints=("Keep the API",), scope=("src/login/",))


def test_heading_may_carry_its_text() -> None:
    text = "# Goal: Retry requests\n\nWith backoff.\n\n## Scope: `src/`\n## Done when: tests pass\n"
    assert only(text, "") == Intention("Retry requests", "With backoff.", acceptance=("tests pass",), scope=("src/",))


def test_rows_of_a_table_are_items_of_a_scope_but_its_head_is_not() -> None:
    intention = only("## Scope\n| File | Why |\n|:---|---|\n| `src/a.py` | core |\n")
    assert intention.scope == ("src/a.py",)


def test_title_is_the_first_sentence_where_nothing_else_names_it() -> None:
    intention = only("Login loops forever. It began\nwith the last release.\n\nSee v1.2.\n", "")
    assert intention.title == "Login loops forever."
    assert intention.description == "It began\nwith the last release.\n\nSee v1.2."
    assert only("# Goal\nFix it\n# More\nThat is all.", "").title == "Fix it"  # a later heading is no title
    assert only("- [ ] Fix **all** of it", "") == Intention("Fix all of it", "- [ ] Fix **all** of it")


def test_given_title_is_taken_and_that_of_the_text_is_not_repeated() -> None:
    assert only("# Other\n\nText", "Given\ttitle") == Intention("Given title", "Text")


def test_negation_of_a_heading_stands_in_each_item() -> None:
    assert only("## Must not\n- break the API\n- no new threads\n- never sleep").constraints == (
        "Must not: break the API",
        "no new threads",
        "never sleep",
    )


@pytest.mark.parametrize(
    ("item", "globs"),
    [
        ("`src/http/`", ["src/http/"]),
        ("./src/http/client.py:12", ["src/http/client.py"]),
        ("`src/{a,b}/*.{py,pyi}`", ["src/a/*.py", "src/a/*.pyi", "src/b/*.py", "src/b/*.pyi"]),
        ("src\\http\\client.py", ["src/http/client.py"]),
        ("[the client](https://example.org/x/)", []),
        ("[src/http/a.py](https://example.org/x/)", ["src/http/a.py"]),
        ("`src`", ["src"]),
        ("**`src/`**: the sources", ["src/"]),
        ("`pkg/...`", ["pkg/"]),
        ("Makefile and .github/", ["Makefile", ".github/"]),
        (".", ["**"]),
        ("read/write errors and/or TCP/IP", []),
        ("Node.js and e.g. the API", []),
        ("https://example.org/src/a.py", []),
        ("../other/a.py", []),
        ("`parse()` and `http.client`", []),
        ("[z-a]/x.py", []),
        ("Documentation", []),
    ],
)
def test_paths_are_told_from_prose(item: str, globs: list[str]) -> None:
    assert list(mentions(item).globs) == globs


def test_exception_in_a_scope_is_forbidden_and_what_is_unclear_is_told() -> None:
    text = (
        "## Scope\n- everything except `docs/`\n- `src/` but not `src/api/`\n- Nothing outside `lib/`\n- The client\n"
    )
    intention, warnings = parse_intention(text, "T")
    assert intention.scope == ()
    assert intention.non_goal_globs == ("docs/",)
    assert intention.notes == ("`src/` but not `src/api/`", "Nothing outside `lib/`", "The client")
    assert [warning.count("two ways") for warning in warnings] == [1, 1, 0]
    assert "'The client' names no path" in warnings[2]


def test_scope_of_negated_globs_alone_does_not_forbid_everything() -> None:
    assert only("## Scope\n- `!docs/`\n") == Intention("T", non_goal_globs=("docs/",))
    kept = only("## Scope\n- `src/`\n- `!src/gen/`\n").scope
    assert out_of_scope(["src/a.py", "src/gen/b.py"], kept) == ("src/gen/b.py",)


def test_path_in_a_sentence_of_non_goals_forbids_nothing_and_is_told() -> None:
    intention, warnings = parse_intention("## Non-goals\n- Changing how `src/a.py` parses\n- Files outside `src/`", "T")
    assert intention.non_goal_globs == ()
    assert len(intention.non_goals) == len(warnings) == 2
    assert mentions("Files outside `src/`").sense is Sense.UNCLEAR


def test_what_does_not_fit_is_left_out_and_told() -> None:
    items = "".join(f"- item {number}\n" for number in range(150))
    globs = "".join(f"- d{number}/\n" for number in range(250))
    text = f"{'long text ' * 3_000}\n\n## Rules\n{items}- {'x y ' * 900}\n## Scope\n{globs}"
    intention, warnings = parse_intention(text, "T")
    assert len(intention.description.encode()) <= 16 << 10
    assert len(intention.constraints) == 100
    assert len(intention.scope) == 200
    assert len(warnings) == 3
    assert all("are kept" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("text", "title", "reason", "field"),
    [
        ("", "", "NO_GOAL", "text"),
        (" \n\t\n", " ", "NO_GOAL", "text"),
        ("<!-- nothing -->", "", "NO_GOAL", "title"),
        ("## Constraints\n- fast", "", "NO_GOAL", "title"),
        ("#\n\n---\n***", "", "NO_GOAL", "title"),
        ("x" * (MAX_TEXT_BYTES + 1), "", "GOAL_TEXT_TOO_LONG", "text"),
        ("\u00e4" * MAX_TEXT_BYTES, "", "GOAL_TEXT_TOO_LONG", "text"),
        ("\n" * MAX_TEXT_LINES, "T", "GOAL_TEXT_TOO_LONG", "text"),
        ("x", "t" * 501, "GOAL_TEXT_TOO_LONG", "title"),
    ],
)
def test_text_without_a_goal_or_too_long_is_refused(text: str, title: str, reason: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_intention(text, title)
    assert caught.value.reason == reason
    assert [item.field for item in caught.value.violations] == [field]


@pytest.mark.parametrize(
    "unit", ["[", ">", "> ", "- ", "`", "**", "<!--", "<a", "1. ", "> - ", ". ", "\t", "{", "![", "]("]
)
def test_hostile_megabyte_takes_seconds_at_most(unit: str) -> None:
    began = time.monotonic()
    for head in ("", "## Scope\n- "):
        parse_intention((head + unit * MAX_TEXT_BYTES)[:MAX_TEXT_BYTES], "T")
    assert time.monotonic() - began < 60  # quadratic: hours


@pytest.mark.parametrize(
    "line", ["- a\n", "[a]: b\n", "  - a:\n", ">a\n", "`{a,b}{c,d}{e,f}{g,h}/`\n", "<a\n", "**Goal:**\n", "|-\n"]
)
def test_hostile_lines_take_seconds_at_most(line: str) -> None:
    began = time.monotonic()
    for head in ("", "## Scope\n"):
        parse_intention(head + line * (MAX_TEXT_LINES - 2), "T")
    assert time.monotonic() - began < 60


WORDS = (
    "## ", "# ", "- ", "\n", "\n\n", "Goal", "Scope", "Non-goals", "Must not", "**", ":", "`", "src/", "*.py", "!",
    "{a,b}", "> ", "```\n", "<!--", "-->", "[ ] ", "  ", "except ", "x", "\u200b", "\u0301", "\ud800", "\x00", "---\n",
    "1. ", "<b>", "\\", "[", "]",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(st.text(max_size=300), st.lists(st.sampled_from(WORDS), max_size=60).map("".join)),
    title=st.one_of(st.just(""), st.text(max_size=20)),
)
def test_any_text_gives_what_the_contract_takes_or_the_named_error(text: str, title: str) -> None:
    try:
        parsed = parse_intention(text, title)
    except InvalidArgument as error:
        if error.reason != "NO_GOAL":
            raise
        return
    intention = convert.intention_from_request(convert.parsed_to_response(parsed).intention)
    assert intention == parsed[0]
    assert parsed == parse_intention(text, title)
    assert build_context(intention).size_bytes <= 2_048
