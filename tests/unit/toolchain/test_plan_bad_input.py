"""No text and no tree makes a plan raise anything but our own errors, and nothing is unbounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from autopack_kit.errors import AutopackError, InvalidArgument
from autopack_kit.globs import check_globs
from autopack_toolchain import NormalizedPlan, SnapshotFile, SnapshotTree, normalize_plan, normalize_plan_tree
from hypothesis import given, settings
from hypothesis import strategies as st

PlanFor = Callable[..., NormalizedPlan]

FILES = {
    "pyproject.toml": b'[project]\nname = "a"\n', "tests/test_a.py": b"import pytest\n", "src/a/b.py": b"",
    "src/[id].ts": b"", "README.md": b"", ".env": b"", "a b/c d.md": b"", "!x": b"", "#y": b"", "docs/x.md": b"",
    ".github/workflows/ci.yml": b"", "src/a/tests.py": b"", "$(touch x)": b"", "na\nme.py": b"", "\u202edir/x.py": b"",
}  # fmt: skip
TREE = SnapshotTree([SnapshotFile(path, len(data), 0o100644, data) for path, data in FILES.items()])

VOCABULARY = """
add fix remove do not don't without the a and but except only see as in to should must at most 30 minutes 5$ 200k tokens
Phase phase 1 2 (depends on 1) (after Phase 2) requires: II iv A B Budget: Tasks: Out of scope: README docs tests !x #y
`src/a/b.py` src/[id].ts http://x ../x /etc/x.conf ~/y **/*.py *.py $(touch x) ; rm -rf / leave alone untouched bitte
nicht - [ ] [x] * 1. 2) # ## ### | |-| ``` ~~~ > : . , ; -- <!-- --> <br> ** __ _ ~~ ]( \\ \" ' &amp;
"""
WORDS = [
    *VOCABULARY.split(),
    "As a user, I want",
    "Acceptance criteria:",
    "\n",
    "\n\n",
    "\t",
    "\0",
    "\u200b",
    "\u6dfb\u52a0",
]
WORD = st.sampled_from(WORDS)
TEXTS = st.one_of(
    st.lists(WORD, max_size=60).map(" ".join),
    st.lists(WORD, max_size=40).map("".join),
    st.lists(st.lists(WORD, max_size=8).map(" ".join), max_size=15).map("\n".join),
    st.text(max_size=300),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map("/".join)


def check(text: str, tree: SnapshotTree) -> None:
    try:
        answer = normalize_plan_tree(text, tree)
    except AutopackError as error:
        refusal = error
    else:
        check_plan(answer)
        return
    assert refusal.reason
    assert refusal.remedy


def check_plan(answer: NormalizedPlan) -> None:
    ids = [phase.phase_id for phase in answer.plan.phases]
    assert len(set(ids)) == len(ids)
    for place, phase in enumerate(answer.plan.phases):
        assert set(phase.phase_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert 1 <= len(phase.phase_id) <= 64
        assert phase.deliverables
        assert phase.validation_steps
        assert set(phase.depends_on) <= set(ids[:place])
        assert 1 <= len(phase.scope.include) <= 200
        assert len(phase.scope.exclude) <= 200
        check_globs([glob.glob for glob in (*phase.scope.include, *phase.scope.exclude)])
        parts = phase.confidence
        assert all(0 <= part <= 1 for part in (parts.deliverables, parts.category, parts.scope, parts.validation))


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_no_text_raises_anything_but_our_own_errors(text: str) -> None:
    check(text, TREE)


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.dictionaries(PATHS, st.binary(max_size=40), max_size=12))
def test_no_tree_raises_anything_but_our_own_errors(text: str, files: dict[str, bytes]) -> None:
    files = {**files, "requirements.txt": b"pytest\n", "test_a.py": b"import pytest\n"}
    entries = [SnapshotFile(path, len(data), 0o100644, data) for path, data in files.items()]
    named = " ".join(f"`{path}`" for path in files)
    check(f"{text}\n\n- fix {named}\n", SnapshotTree(entries))


HOSTILE = {
    "brackets": "[" * 250_000,
    "links": "[a](b " * 40_000,
    "emphasis": "*a_ " * 60_000,
    "ticks": "a``b`c" * 40_000,
    "parentheses": "Add " + "(" * 100_000 + ")" * 100_000,
    "list": "- " * 100_000,
    "deep list": "\n".join(" " * depth + "- add a" for depth in range(600)),
    "quotes": "> " * 100_000,
    "table": "|" + "a|" * 50_000 + "\n|" + "-|" * 50_000 + "\n",
    "one word": "a" * 250_000,
    "dots": "a." * 120_000,
    "slashes": "a/" * 120_000,
    "joins": "Add x and " * 25_000,
    "comma": "add a, " * 35_000,
    "number": "1" * 250_000 + " minutes",
    "comment": "<!--" * 60_000,
    "html": "<a><b>\n" * 9_000,
    "underscores": "a_" * 120_000,
    "spaces": " " * 250_000 + "add x",
    "entities": "&amp;" * 50_000,
    "phases": "Phase 1: " * 28_000,
    "needs": "## A\nadd\n## B (depends on " + "A, " * 80_000 + ")\n",
    "globs": "".join(f"- fix `src/*{number}*/a*b*c.py`\n" for number in range(2_000)),
    "paths": "".join(f"- fix a{number}/b.py\n" for number in range(3_000)),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_ends(name: str) -> None:
    check(HOSTILE[name], TREE)


def test_a_text_over_its_limits_is_refused_with_the_limit(plan_for: PlanFor) -> None:
    for text, unit in (("add x " * 50_000, "bytes"), ("a\n" * 10_001, "lines")):
        with pytest.raises(InvalidArgument) as caught:
            plan_for(text)
        assert caught.value.reason == "PLAN_TOO_LONG"
        assert unit in caught.value.message


def test_too_many_deliverables_are_cut_with_a_warning(plan_for: PlanFor) -> None:
    answer = plan_for("".join(f"- Add the field f{number}\n" for number in range(150)))
    assert len(answer.plan.phases[0].deliverables) == 100
    assert "TOO_MANY_DELIVERABLES" in {warning.reason for warning in answer.warnings}


def test_too_many_globs_are_cut_with_a_warning(plan_for: PlanFor) -> None:
    listed = "".join(
        f"- Add `src/shop/f{number}.py` and `src/shop/g{number}.py` and `src/shop/h{number}.py`\n"
        for number in range(90)
    )
    answer = plan_for(listed)
    assert len(answer.plan.phases[0].scope.include) == 200
    assert "TOO_MANY_GLOBS" in {warning.reason for warning in answer.warnings}


@pytest.mark.parametrize(
    "text",
    [
        "为 HTTP 客户端添加重试\n\n- 在 `src/shop/http/client.py` 中添加重试\n- 不要修改 `src/shop/legacy/importer.py`",
        "再試行を追加する\n\n- `src/shop/http/client.py` を変更する\n- `src/shop/legacy/importer.py` を変更しない",
        "Добавить повторы\n\n- Изменить `src/shop/http/client.py`\n- Не менять `src/shop/legacy/importer.py`",  # noqa: RUF001
        "Ajouter des reprises dans le client\n\n- Modifier `src/shop/http/client.py` pour les reprises\n"
        "- Ne pas toucher à `src/shop/legacy/importer.py`",
        "أضف إعادة المحاولة\n\n- عدّل `src/shop/http/client.py`\n- لا تعدل `src/shop/legacy/importer.py`",
    ],
)
def test_other_languages_give_lists_and_paths_with_low_confidence(plan_for: PlanFor, text: str) -> None:
    answer = plan_for(text)
    phase = answer.plan.phases[0]
    assert [glob.glob for glob in phase.scope.include] == ["src/shop/http/client.py"]
    assert len(phase.deliverables) == 1
    assert answer.confidence <= 0.3
    assert "NOT_ENGLISH" in {warning.reason for warning in answer.warnings}


def test_a_single_line_in_another_language_is_its_own_deliverable(plan_for: PlanFor) -> None:
    answer = plan_for("为 HTTP 客户端添加重试")
    assert [item.text for item in answer.plan.phases[0].deliverables] == ["为 HTTP 客户端添加重试"]
    assert answer.confidence <= 0.1


def test_the_facade_reads_a_directory(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pytest\n")
    (tmp_path / "cart.py").write_text("")
    (tmp_path / "test_cart.py").write_text("import pytest\n")
    answer = normalize_plan("Fix cart.py", tmp_path)
    assert [glob.glob for glob in answer.plan.phases[0].scope.include] == ["/cart.py"]
