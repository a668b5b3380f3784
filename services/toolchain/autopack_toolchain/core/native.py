"""C and C++: CMake, Meson, Autotools and plain make. The build system takes the place of a package manager.

A build of these takes several commands, so BUILD and TEST are scripts; what they leave lies in ``build/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from autopack_kit.commands import Command, Script

from .conventional import present
from .model import Candidate, Evidence, Source, StepKind
from .places import nearest, under
from .search import captures, find_text
from .workspace import Workspace, join, listing, parents, table

__all__ = ["detect_native", "with_build"]

ECOSYSTEM = "c"

MAX_READ = 100
"""Build files below one root that are read to see whether there are tests; the topmost by name come first."""

MAX_OPTIONS = 3
"""Options that switch tests on; more of them are switches of single tests."""

_MARKERS = (
    "CMakeLists.txt",
    "meson.build",
    "configure.ac",
    "configure.in",
    "configure",
    "GNUmakefile",
    "makefile",
    "Makefile",
)
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".C", ".c++")
_COMPILES = r"\$[({](?:CC|CXX|LD|CFLAGS|CXXFLAGS|CPPFLAGS)[)}]|\b(?:gcc|g\+\+|clang|clang\+\+)\b|\.o\b"
_DELEGATES = r"\$[({]MAKE[)}]"
_PYTHON_BACKENDS = r"^build-backend\s*=\s*[\"'](?:mesonpy|scikit_build_core|setuptools)"

_CMAKE_PROJECT = r"(?i)^\s*project\s*\("
_CMAKE_TESTS = (
    r"(?i)^[^#\n]*\b(?:enable_testing|add_test|gtest_discover_tests|catch_discover_tests|doctest_discover_tests)\s*\("
    r"|^[^#\n]*\binclude\s*\(\s*CTest\s*\)"
)
_CMAKE_FETCHES = (
    r"(?i)^[^#\n]*\b(?:FetchContent_Declare|FetchContent_MakeAvailable|CPMAddPackage|ExternalProject_Add)\s*\("
)
_CMAKE_OPTION = r"(?i)^\s*option\s*\(\s*([A-Za-z0-9_]{0,60}(?:TESTS?|TESTING))\s+\"[^\"\n]*\"\s+(?:OFF|FALSE|NO)\s*\)"
_MESON_TESTS = r"^\s*(?:test|gtest|g_test)\s*\("
_AUTOMAKE_TESTS = r"^\s*(?:TESTS|check_[A-Z]+|[A-Z_]*TESTS)\s*\+?="
_MAKE_TEST = r"^(?:test|check|tests)\s*:(?:[^=]|$)"
_TEST_DIRECTORIES = frozenset({"test", "tests", "t", "testsuite"})


def detect_native(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for C and C++; what lies below a project belongs to it."""
    marked = {
        directory: found
        for directory in nearest(workspace.directories_with(*_MARKERS))
        if (found := _marks(workspace, directory))
    }
    for directory in sorted(d for d in marked if not any(above in marked for above in parents(d))):
        weaker = 0.5 if find_text(workspace, join(directory, "pyproject.toml"), _PYTHON_BACKENDS)[0] else 1.0
        for manager, evidence in marked[directory]:
            held = Evidence(evidence.path, evidence.line, evidence.signal, round(evidence.weight * weaker, 4))
            yield Candidate(directory, ECOSYSTEM, (held,))
            yield Candidate(directory, ECOSYSTEM, (evidence,), manager=manager)
        names = {evidence.path.rpartition("/")[2] for _, evidence in marked[directory]}
        if "CMakeLists.txt" in names:
            yield from _cmake(workspace, directory)
        if "meson.build" in names:
            yield from _meson(workspace, directory)
        if {"configure.ac", "configure.in", "configure"} & names:
            yield from _autotools(workspace, directory)
        elif makefile := next((name for name in _MAKEFILES if name in names), ""):
            yield from _make(workspace, directory, makefile)


def with_build(workspace: Workspace, known: Iterable[Candidate], learned: Iterable[Candidate]) -> Iterator[Candidate]:
    """``learned`` with one change: what CI runs in the build tree of CMake becomes the script that builds it first.

    A line such as ``ctest`` alone runs nothing where nothing was built, and old programs where a source was changed.
    The line that only makes the build tree is no INSTALL then: the script does it.
    """
    scripts = {
        (one.workdir, one.kind): one.command
        for one in known
        if one.ecosystem == ECOSYSTEM and one.only_with == ("cmake",) and one.command and one.command.script
    }
    for one in learned:
        script = scripts.get((one.workdir, one.kind))
        if one.ecosystem != ECOSYSTEM or one.command is None or not _in_build_tree(workspace, one.command):
            yield one
        elif script is not None:
            yield replace(one, command=script, only_with=("cmake",))
        elif one.kind is not StepKind.INSTALL or (one.workdir, StepKind.BUILD) not in scripts:
            yield one


def _in_build_tree(workspace: Workspace, command: Command) -> bool:
    program = command.argv[0] if command.argv else ""
    if program == "make":
        return not any(workspace.has(command.cwd, name) for name in _MAKEFILES)
    return program in {"ctest", "ninja", "cmake"} and "--workflow" not in command.argv


def _marks(workspace: Workspace, directory: str) -> list[tuple[str, Evidence]]:
    """(manager, evidence) for each build system that is at home in this directory."""
    found = []
    for name, manager in (("CMakeLists.txt", "cmake"), ("meson.build", "meson")):
        if workspace.has(directory, name):
            path = join(directory, name)
            line, _ = find_text(workspace, path, _CMAKE_PROJECT)
            found.append((manager, Evidence(path, line, name, 0.9 if line else 0.7)))
    autoconf = present(workspace, directory, ("configure.ac", "configure.in"))
    if autoconf:
        found.append(("make", Evidence(join(directory, autoconf), 0, autoconf, 0.85)))
    elif workspace.executable(join(directory, "configure")) and workspace.has(directory, "Makefile.in"):
        found.append(("make", Evidence(join(directory, "configure"), 0, "configure", 0.8)))
    makefile = next((name for name in _MAKEFILES if workspace.has(directory, name)), "")
    if makefile and not any(manager == "make" for manager, _ in found) and _compiles(workspace, directory, makefile):
        path = join(directory, makefile)
        found.append(("make", workspace.evidence(path, f"{makefile} that compiles C", 0.8)))
    return found


def _compiles(workspace: Workspace, directory: str, makefile: str) -> bool:
    """Whether it compiles C that is there, or leaves that to the makefile of a directory right below."""
    if not any(under(workspace.ending(extension), directory) for extension in _SOURCES):
        return False
    if find_text(workspace, join(directory, makefile), _COMPILES)[0]:
        return True
    if not find_text(workspace, join(directory, makefile), _DELEGATES)[0]:
        return False
    depth = 1 if directory == "." else directory.count("/") + 2
    below = (path for path in _below(workspace, directory, "Makefile") if path.count("/") == depth)
    return any(find_text(workspace, path, _COMPILES)[0] for path in below)


def _below(workspace: Workspace, directory: str, name: str) -> list[str]:
    """Files of this name in the project, the topmost first."""
    held = workspace.once("places", name, lambda name: workspace.directories_with(name))
    places = sorted(under(held, directory), key=lambda d: (d.count("/"), d))
    own = [directory] if workspace.has(directory, name) else []
    return [join(place, name) for place in (*own, *places)][:MAX_READ]


def _first(workspace: Workspace, paths: Sequence[str], pattern: str, signal: str, weight: float) -> Evidence | None:
    for path in paths:
        if line := find_text(workspace, path, pattern)[0]:
            return Evidence(path, line, signal, weight)
    return None


def _cmake(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    path = join(directory, "CMakeLists.txt")
    lists = _below(workspace, directory, "CMakeLists.txt")
    configure = "cmake -S . -B build"
    if fetched := _first(workspace, lists, _CMAKE_FETCHES, "fetches sources", 0.6):
        yield _step(directory, StepKind.INSTALL, fetched, "cmake", argv=("cmake", "-S", ".", "-B", "build"))
    if conan := present(workspace, directory, ("conanfile.py", "conanfile.txt")):
        evidence = Evidence(join(directory, conan), 0, conan, 0.7)
        yield _step(directory, StepKind.INSTALL, evidence, "cmake", argv=("conan", "install", ".", "--build=missing"))
    built = Evidence(path, 0, "CMakeLists.txt", 0.7)
    yield _step(directory, StepKind.BUILD, built, "cmake", lines=(configure, "cmake --build build"))
    # A list with a project of its own is another one that is kept here, such as a copy of GoogleTest.
    own = [path, *(p for p in lists if p != path and not find_text(workspace, p, _CMAKE_PROJECT)[0])]
    if tested := _first(workspace, own, _CMAKE_TESTS, "tests of CTest", 0.75):
        options = captures(workspace, path, _CMAKE_OPTION, MAX_OPTIONS)
        lines = (
            " ".join([configure, *(f"-D{name}=ON" for name in options)]),
            "cmake --build build",
            "ctest --test-dir build --output-on-failure",
        )
        yield _step(directory, StepKind.TEST, tested, "cmake", lines=lines)
        yield from _workflow(workspace, directory)


def _workflow(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    """A workflow preset configures, builds and tests in one command; which one is meant shows if there is one only."""
    path = join(directory, "CMakePresets.json")
    presets = [
        str(table(item).get("name", ""))
        for item in listing(workspace.json(path).get("workflowPresets"))
        if any(table(step).get("type") == "test" for step in listing(table(item).get("steps")))
    ]
    if len(presets) == 1 and presets[0].replace("-", "").replace("_", "").isalnum():
        evidence = workspace.evidence(path, "workflow preset", 0.7, '"workflowPresets"')
        argv = ("cmake", "--workflow", "--preset", presets[0])
        yield _step(directory, StepKind.TEST, evidence, "cmake", argv=argv, source=Source.CONFIGURATION)


def _meson(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    path = join(directory, "meson.build")
    setup = "meson setup build"
    if workspace.has(directory, "subprojects/.wraplock") or present(workspace, directory, ("subprojects/*.wrap",)):
        evidence = Evidence(path, 0, "wrapped subprojects", 0.7)
        yield _step(directory, StepKind.INSTALL, evidence, "meson", argv=("meson", "subprojects", "download"))
    built = Evidence(path, 0, "meson.build", 0.7)
    yield _step(directory, StepKind.BUILD, built, "meson", lines=(setup, "meson compile -C build"))
    lists = _below(workspace, directory, "meson.build")
    if tested := _first(workspace, lists, _MESON_TESTS, "tests of Meson", 0.75):
        lines = (setup, "meson test -C build --print-errorlogs")
        yield _step(directory, StepKind.TEST, tested, "meson", lines=lines)


def _autotools(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    generators = ("configure", "autogen.sh", "bootstrap", "bootstrap.sh", "buildconf")
    script = next((n for n in generators if workspace.executable(join(directory, n))), "")
    prepare = (
        ("./configure",) if script == "configure" else (f"./{script}" if script else "autoreconf -fi", "./configure")
    )
    source = present(workspace, directory, ("configure.ac", "configure.in", "configure"))
    built = Evidence(join(directory, source), 0, source, 0.7)
    yield _step(directory, StepKind.BUILD, built, "make", lines=(*prepare, "make"))
    lists = _below(workspace, directory, "Makefile.am")
    tested = _first(workspace, lists, _AUTOMAKE_TESTS, "tests of Automake", 0.75)
    if tested is None and (folder := _test_directory(workspace, directory)):
        tested = Evidence(folder, 0, "test directory", 0.55)
    if tested:
        yield _step(directory, StepKind.TEST, tested, "make", lines=(*prepare, "make check"))


def _test_directory(workspace: Workspace, directory: str) -> str:
    """A file in a directory of tests right below the project; empty if there is none."""
    for name in sorted(_TEST_DIRECTORIES):
        place = join(directory, name)
        if names := workspace.names(place):
            return join(place, min(names))
    return ""


def _make(workspace: Workspace, directory: str, makefile: str) -> Iterator[Candidate]:
    path = join(directory, makefile)
    yield _step(directory, StepKind.BUILD, Evidence(path, 0, makefile, 0.75), "make", argv=("make",))
    line, text = find_text(workspace, path, _MAKE_TEST)
    if line:
        target = text.partition(":")[0].strip()
        evidence = Evidence(path, line, f"make target {target}", 0.7)
        yield _step(directory, StepKind.TEST, evidence, "make", argv=("make", target))


def _step(
    directory: str,
    kind: StepKind,
    evidence: Evidence,
    manager: str,
    *,
    argv: tuple[str, ...] = (),
    lines: tuple[str, ...] = (),
    source: Source = Source.DEFAULT,
) -> Candidate:
    """A command, or lines for a shell that stops at the first failure."""
    script = Script(("sh", "-e"), "".join(f"{line}\n" for line in lines)) if lines else None
    command = Command(argv=argv, script=script, cwd=directory)
    return Candidate(directory, ECOSYSTEM, (evidence,), kind=kind, command=command, only_with=(manager,), source=source)
