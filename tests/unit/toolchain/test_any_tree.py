"""Whatever a tree holds, detection ends, raises nothing, and says only what can be sent and run below the root.

Trees are put together from real-looking files that are cut, spliced, doubled and filled with what parsers stumble over.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from autopack_toolchain import Detection, SnapshotFile, SnapshotTree, detect_tree
from autopack_toolchain.convert import detection_to_proto
from autopack_toolchain.core.registry import default_registry
from autopack_toolchain.core.workspace import MAX_SECONDS, MAX_TOTAL_BYTES, MAX_WARNINGS, Workspace
from hypothesis import example, given, settings
from hypothesis import strategies as st

_PARTS = re.split(r"^-- (.+) --\n", Path(__file__).with_name("manifests.txtar").read_text("utf-8"), flags=re.MULTILINE)
FILES = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))

HARD = [
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\x1b[0m", b"\x0b", b"\r", b"\n", b"\t", b"  ",
    b"{", b"}", b"[", b"]", b"(", b")", b'"', b"'", b"\\", b"`", b"$(", b"${", b"${{", b"}}", b"{{", b"&&", b"||", b";",
    b"|", b"#", b"=", b":", b": ", b"- ", b"? ", b"&a ", b"*a ", b"<<: *a\n", b"!!python/object:os.system ", b"!t ",
    b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"&x;", b"<![CDATA[", b"\\ud800", b"9" * 5000, b"1e999", b"0x1", b"nan", b"null",
    b"1979-05-27", b"../", b"/etc/passwd", b"..", b"-x", b"%s", b"{0}", b"a" * 300, b"cd ..\n", b"cd /\n", b"<<EOF\n",
    b"case x in\n", b"if x; then\n", b"fi\n", b"include x\n", b"$(shell ls)", b"\xf0\x9f\x98\x80",
]  # fmt: skip

CONTENTS = [text.encode() for text in FILES.values()]
PLACES = ["", "", "", "packages/a/", "web/", "api/", "tests/fixtures/x/", "build/"]
NAMES = sorted({*FILES, *default_registry().manifest_names, "Cargo.lock", "main.py", "index.js"})

Edit = Callable[[bytes], bytes]


def edits() -> st.SearchStrategy[Edit]:
    """Changes of a content at a place that is given as a share of its length, so that it shrinks well."""
    place = st.floats(0, 1)

    def at(share: float, content: bytes) -> int:
        return int(share * len(content))

    def splice(where: float, length: int, what: bytes) -> Edit:
        return lambda content: content[: at(where, content)] + what + content[at(where, content) + length :]

    def double(where: float, length: int) -> Edit:
        return lambda content: splice(where, 0, content[at(where, content) :][:length])(content)

    def cut(where: float) -> Edit:
        return lambda content: content[: at(where, content)]

    pieces = st.one_of(st.sampled_from(HARD), st.binary(max_size=3), st.sampled_from(CONTENTS).map(lambda c: c[:80]))
    lengths = st.sampled_from([0, 0, 1, 2, 10, 100])
    return st.one_of(
        st.builds(splice, place, lengths, pieces), st.builds(double, place, lengths), st.builds(cut, place)
    )


def applied(content: bytes, changes: list[Edit]) -> bytes:
    for change in changes:
        content = change(content)
    return content


PATHS = st.tuples(st.sampled_from(PLACES), st.sampled_from(NAMES)).map("".join)
BODIES = st.builds(applied, st.sampled_from(CONTENTS), st.lists(edits(), max_size=4))
OWN_BODIES = st.builds(
    lambda place, name, changes: (place + name, applied(FILES[name].encode(), changes)),
    st.sampled_from(PLACES),
    st.sampled_from(sorted(FILES)),
    st.lists(edits(), max_size=4),
)
TREES = st.lists(st.one_of(OWN_BODIES, OWN_BODIES, OWN_BODIES, st.tuples(PATHS, BODIES)), max_size=12).map(dict)


def tree(files: dict[str, bytes]) -> SnapshotTree:
    return SnapshotTree([SnapshotFile(path, len(data), 0o100755, data) for path, data in files.items()])


def is_inside(path: str) -> bool:
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


def check(detection: Detection, files: dict[str, bytes]) -> None:
    """What holds for every answer."""
    detection_to_proto(detection, installed=()).SerializeToString()
    for project in detection.projects:
        assert is_inside(project.workdir)
        assert 0 <= project.confidence <= 1
        for step in project.steps:
            command = step.command
            assert is_inside(command.cwd)
            assert command.script or command.argv[0]
            assert not any("\0" in word for word in (*command.argv, *command.env, *command.env.values()))
            assert 0 <= step.confidence <= 1
            assert step.evidence
        paths = {e.path for step in project.steps for e in step.evidence} | {e.path for e in project.evidence}
        assert paths <= {"", *files}
    assert all(warning.reason and warning.message for warning in detection.warnings)


@settings(max_examples=150, deadline=None)
@given(TREES)
@example({name: text.encode() for name, text in FILES.items()})
@example({f"{place}{name}": text.encode() for name, text in FILES.items() for place in set(PLACES)})
def test_any_tree_of_mutated_manifests_gives_an_answer_that_can_be_sent(files: dict[str, bytes]) -> None:
    check(detect_tree(tree(files)), files)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_manifest_cut_anywhere_is_never_more_than_a_warning(name: str) -> None:
    content = FILES[name].encode()
    for end in range(0, len(content), max(1, len(content) // 40)):
        files = {name: content[:end], "go.mod": b"module a\n"}
        check(detect_tree(tree(files)), files)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize(
    "content", [b"\0" * 1000, b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20, b"\xff\xfea\0b\0", b"\xef\xbb\xbf"]
)
def test_a_binary_manifest_is_never_more_than_a_warning(name: str, content: bytes) -> None:
    check(detect_tree(tree({name: content})), {name: content})


def ticking(step: float) -> Callable[[], float]:
    """A clock that goes on by ``step`` seconds each time somebody looks."""
    seconds = itertools.count(0.0, step)
    return lambda: next(seconds)


def texts(workspace: Workspace, count: int) -> Iterator[str]:
    return (workspace.text(f"{number}/package.json") for number in range(count))


def test_after_the_time_limit_nothing_more_is_read_and_it_is_told() -> None:
    held = tree({f"{number}/package.json": b"{}" for number in range(10)})
    workspace = Workspace(held, default_registry(), ticking(MAX_SECONDS / 5))
    assert list(texts(workspace, 10)) == ["{}"] * 5 + [""] * 5
    assert [warning.reason for warning in workspace.warnings] == ["TOO_MUCH_TO_READ"]


def test_after_the_limit_of_bytes_nothing_more_is_read_and_it_is_told() -> None:
    size = 1 << 20
    held = tree({f"{number}/package.json": b" " * size for number in range(12)})
    workspace = Workspace(held, default_registry())
    assert sum(map(len, texts(workspace, 12))) == MAX_TOTAL_BYTES
    assert [warning.reason for warning in workspace.warnings] == ["TOO_MUCH_TO_READ"]


def test_more_warnings_than_anybody_reads_are_counted() -> None:
    detection = detect_tree(tree({f"{n}/package.json": b"{" for n in range(700)}))
    assert len(detection.warnings) == MAX_WARNINGS + 1
    assert [w.message.partition(";")[0] for w in detection.warnings if w.reason == "TOO_MANY_WARNINGS"] == [
        "200 more warnings were left out"
    ]
