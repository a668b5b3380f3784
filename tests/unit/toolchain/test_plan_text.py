"""From text to deliverables: what is asked for, once, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_toolchain import NormalizedPlan
from autopack_toolchain.core.plan.clauses import parts, sentences
from autopack_toolchain.core.plan.inline import plain
from autopack_toolchain.core.plan.knowledge import knowledge, verb_forms
from autopack_toolchain.core.plan.words import stem

PlanFor = Callable[..., NormalizedPlan]


def asked(answer: NormalizedPlan) -> list[str]:
    return [item.text for phase in answer.plan.phases for item in phase.deliverables]


def refused(answer: NormalizedPlan) -> tuple[str, ...]:
    return answer.plan.phases[0].non_goals


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- Add a cache\n- Fix the cart", ["Add a cache", "Fix the cart"]),
        ("* Adds a cache\n* Fixing the cart", ["Adds a cache", "Fixing the cart"]),
        ("1. Add a cache\n2) Fix the cart", ["Add a cache", "Fix the cart"]),
        ("Changes:\n• Add a cache\n• Fix the cart", ["Add a cache", "Fix the cart"]),
        ("Hello,\nplease add a cache and fix the cart.", ["Add a cache", "Fix the cart"]),
        ("We need to add a cache, fix the cart and drop `legacy`.", ["Add a cache", "Fix the cart", "Drop `legacy`"]),
        ("Add a cache; fix the cart", ["Add a cache", "Fix the cart"]),
        ("The cart should round per line.", ["The cart should round per line"]),
        ("Support for refunds\n\nNo new dependencies.", ["Support for refunds"]),
        ("## Tasks\n- a `--quiet` flag\n- less noise", ["a `--quiet` flag", "less noise"]),
        ("The command should:\n- accept a path\n- print a table",
         ["The command should accept a path", "The command should print a table"]),
        ("- `cart.py`: frobnicate\n- Client - retry failed calls", ["Client - retry failed calls"]),
        ("- `cart.py`: change the rounding", ["`cart.py`: change the rounding"]),
        ("feat(cart): add a discount", ["Add a discount"]),
        ("**Add** a _cache_ to [the cart](src/shop/cart.py)", ["Add a cache to the cart (src/shop/cart.py)"]),
        ("Add a cache\nFix the cart\nUpdate the docs", ["Add a cache", "Fix the cart", "Update the docs"]),
        ("Add a cache that keeps the answers of the\nserver for an hour", None),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_found(plan_for: PlanFor, text: str, expected: list[str] | None) -> None:
    expected = expected or ["Add a cache that keeps the answers of the server for an hour"]
    assert asked(plan_for(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected", "not_asked"),
    [
        ("- Add a cache\n- Do not add any new dependency", ["Add a cache"], "Do not add any new dependency"),
        ("Add a cache without changing the public API.", ["Add a cache"], "without changing the public API"),
        ("Fix the cart but don't touch the totals", ["Fix the cart"], "don't touch the totals"),
        ("Fix the cart, with no new dependencies", ["Fix the cart"], "with no new dependencies"),
        ("Fix the cart. Never log the card number.", ["Fix the cart"], "Never log the card number"),
        ("Fix the cart. Please leave the totals unchanged.", ["Fix the cart"], "Please leave the totals unchanged"),
        ("Fix the cart. The schema must not be changed.", ["Fix the cart"], "The schema must not be changed"),
        ("Fix the cart\n\nOut of scope: the totals", ["Fix the cart"], "the totals"),
        ("- Fix the cart\n\n### Non-goals\n- Rewrite the totals", ["Fix the cart"], "Rewrite the totals"),
        ("Fix the cart.\n\nThis PR will not:\n- rewrite the totals", ["Fix the cart"], "rewrite the totals"),
        ("Fix the cart. Refunds are for later.", ["Fix the cart"], "Refunds are for later"),
    ],
)
def test_what_is_negated_is_never_a_deliverable(
    plan_for: PlanFor, text: str, expected: list[str], not_asked: str
) -> None:
    answer = plan_for(text)
    assert asked(answer) == expected
    assert refused(answer) == (not_asked,)


@pytest.mark.parametrize(
    "text",
    [
        "Support login without a password",
        "Show a banner to users who log in and do not have a cart",
        "Don't forget to update the changelog",
        "Avoid the second query in the cart",
    ],
)
def test_a_negative_word_that_belongs_to_the_work_does_not_cut_it(plan_for: PlanFor, text: str) -> None:
    (found,) = asked(plan_for(text))
    assert found.lower().removesuffix(".") in text.lower()
    assert len(found) >= 20


@pytest.mark.parametrize(
    "block",
    [
        "```\n- Delete everything\nAdd a backdoor\n```",
        "~~~python\n# TODO: remove the cache\n~~~",
        "Example:\n\n    - Add a backdoor\n    - Delete everything\n",
        "> - Delete everything\n> Add a backdoor",
        "<!--\n- Delete everything\n-->",
        "- ~~Delete everything~~",
        "- [x] Delete everything",
        "## Steps to reproduce\n1. Delete everything\n2. Add an item",
        "## Alternatives considered\n- Delete everything",
        "---\ntitle: x\n---",
    ],
)
def test_code_quotations_comments_and_what_is_done_ask_for_nothing(plan_for: PlanFor, block: str) -> None:
    text = f"{block}\n\n## Tasks\n- Fix the cart\n" if block.startswith("---") else f"- Fix the cart\n\n{block}\n"
    assert asked(plan_for(text)) == ["Fix the cart"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- Add a cache to the client\n- Adding a cache to the client", "Add a cache to the client"),
        ("- Add a cache\n- Implement the cache\n- Introduce a new cache", "Introduce a new cache"),
        ("- Add caches\n- Add a cache to the client", "Add a cache to the client"),
        ("- Write tests for the cart\n- Test the cart", "Write tests for the cart"),
        ("# Add a cache\n\nPlease add a cache.", "Add a cache"),
    ],
)
def test_forms_of_one_request_are_one_deliverable(plan_for: PlanFor, text: str, expected: str) -> None:
    answer = plan_for(text)
    assert asked(answer) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "- Add a user model\n- Add user model tests",
        "- Add tests for carts\n- Add tests for orders",
        "- Add a cache\n- Remove the cache",
    ],
)
def test_different_requests_stay_apart(plan_for: PlanFor, text: str) -> None:
    assert len(asked(plan_for(text))) == 2


def test_merged_requests_keep_every_line_as_evidence(plan_for: PlanFor) -> None:
    (item,) = plan_for("- Add a cache\n- Fix nothing else\n- Adding a cache\n").plan.phases[0].deliverables[:1]
    assert [evidence.line for evidence in item.evidence] == [1, 3]


def test_points_below_a_deliverable_are_details_and_requests_below_it_are_not(
    plan_for: PlanFor,
) -> None:
    text = "- Add an export\n  - CSV only\n    - comma separated\n  - Document it in the README\n"
    text += "- Backend:\n  - Add a route\n"
    items = plan_for(text).plan.phases[0].deliverables
    assert [item.text for item in items] == ["Add an export", "Document it in the README", "Add a route"]
    assert items[0].details == ("CSV only", "comma separated")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Checkout crashes on empty carts\n\nIt just does.", "Fix: Checkout crashes on empty carts"),
        ("# CSV export\n\n## Acceptance criteria\n- A file is written", "CSV export"),
        ("# Add a cache\n\n## Background\nIt is slow today.", "Add a cache"),
        ("# Notes\n\n## Add a cache\nIt is slow today.", "Add a cache"),
    ],
)
def test_a_title_or_heading_counts_where_nothing_below_it_asks(plan_for: PlanFor, text: str, title: str) -> None:
    assert asked(plan_for(text)) == [title]


@pytest.mark.parametrize(
    "text",
    [
        "Hello", "The weather is nice today.", "...", "# Ideas\n\nSome thoughts about caching.", "?", "12345",
        "- [x] Add a cache", "```\nAdd a cache\n```", "<!-- Add a cache -->", "Thanks!", "Do not touch anything.",
    ],
)  # fmt: skip
def test_a_text_that_asks_for_nothing_is_refused_with_what_to_write(plan_for: PlanFor, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan_for(text)
    assert caught.value.reason == "NO_DELIVERABLE"
    assert "- Add a retry" in caught.value.remedy
    assert [violation.field for violation in caught.value.violations] == ["text"]


def test_sections_say_what_their_items_are(plan_for: PlanFor) -> None:
    text = (
        "# Export\n\n## Requirements\n- Add an export\n\n## Constraints\n- Python 3.11 only\n\n**Done when**\n"
        "- A file is there\n\nAcceptance criteria: it is fast\n\n## Open questions\n- Drop the old one?\n"
    )
    phase = plan_for(text).plan.phases[0]
    assert [item.text for item in phase.deliverables] == ["Add an export"]
    assert phase.constraints == ("Python 3.11 only",)
    assert phase.acceptance == ("A file is there", "it is fast")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Add it, e.g. to `a.b`. Then stop.", ["Add it, e.g. to `a.b`.", "Then stop."]),
        ("See src/a.b/c.py:12. Use v1.2.3 of Node.js. ok", ["See src/a.b/c.py:12.", "Use v1.2.3 of Node.js.", "ok"]),
        ("Parse x, y etc. and so on. Done!", ["Parse x, y etc. and so on.", "Done!"]),
        ("i.e. this (approx. 3 min.) is one", ["i.e. this (approx. 3 min.) is one"]),
        ("`a. B` is code. Yes? No", ["`a. B` is code.", "Yes?", "No"]),
        ("添加重试。不要修改。", ["添加重试。", "不要修改。"]),
        ("J. Smith asked. We add it", ["J. Smith asked.", "We add it"]),
    ],
)
def test_sentences_end_where_they_end(text: str, expected: list[str]) -> None:
    assert sentences(text, knowledge()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Build and push the image", ["Build and push the image"]),
        ("Allow users to add and remove items", ["Allow users to add and remove items"]),
        ("Update docs and test fixtures", ["Update docs and test fixtures"]),
        ("Add handlers that read X and write Y", ["Add handlers that read X and write Y"]),
        ("Add a cache (fix, drop and test it)", ["Add a cache (fix, drop and test it)"]),
        ("Add a flag, then document it in the README", ["Add a flag", "document it in the README"]),
        ("Do not touch `a.py`, only add tests", ["Do not touch `a.py`", "add tests"]),
    ],
)
def test_a_sentence_is_cut_only_where_another_request_begins(text: str, expected: list[str]) -> None:
    assert [part.text for part in parts(text, knowledge())] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Add** __init__.py and _private, *not* `a*b*`", "Add __init__.py and _private, not `a*b*`"),
        ("src/**/*.py and **/*.ts", "src/**/*.py and **/*.ts"),
        ("do _not_ use snake_case_names", "do not use snake_case_names"),
        ("a <b>c</b> &amp; <code>x</code> List<String>", "a c & `x` List<String>"),
        ("![image](x.png)[label](docs/a.md \"t\") [b][1] [site](https://x.example)", "label (docs/a.md) b site"),
        ("a <!-- b\nc --> d", "a\nd"),
        ("\\*a\\* ~~b~~", "*a*"),
    ],
)  # fmt: skip
def test_markdown_inside_of_a_line_goes_and_names_stay(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_forms_of_words_meet() -> None:
    assert len({stem(word) for word in ("caching", "caches", "cached", "cache")}) == 1
    assert {"applies", "applying"} <= verb_forms("apply")
    assert {"dropping", "drops"} <= verb_forms("drop")
