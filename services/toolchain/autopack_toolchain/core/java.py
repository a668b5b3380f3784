"""Java and its relatives on the JVM: Maven from a parsed POM, Gradle from its settings, wrapper and build files, Ant.

Kotlin and Groovy are built by the same tools, hence they are languages of this ecosystem and none of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from autopack_kit.commands import Command

from .model import Candidate, Evidence, RuntimeVersion, Source, StepKind
from .places import nearest, under
from .search import find_text
from .workspace import Workspace, join, parents

__all__ = ["detect_java"]

ECOSYSTEM = "java"

MAX_SUBPROJECTS = 50
"""Projects of a Gradle build whose build files are asked whether they start a program."""

_GRADLE_FILES = ("settings.gradle", "settings.gradle.kts", "build.gradle", "build.gradle.kts")
_WRAPPER = "gradle/wrapper/gradle-wrapper"
_DISTRIBUTION = re.compile(r"^distributionUrl\s*=.*?-(\d[\w.]{0,30}?)-(?:bin|all)\.zip", re.MULTILINE)
_MAVEN_DISTRIBUTION = re.compile(r"^distributionUrl\s*=.*?apache-maven-(\d[\w.]{0,30}?)-bin\.zip", re.MULTILINE)
_GRADLE_JAVA = re.compile(
    r"JavaLanguageVersion\.of\((\d{1,3})\)|jvmToolchain\((\d{1,3})\)"
    r"|(?:source|target)Compatibility\s{0,9}=\s{0,9}[\"']?(?:JavaVersion\.VERSION_)?(\d[\d._]{0,9})"
)
_PROPERTIES = ("maven.compiler.release", "java.version", "maven.compiler.source", "maven.compiler.target")
_CHECKS = {
    "maven-checkstyle-plugin": (StepKind.LINT, "checkstyle:check"),
    "maven-pmd-plugin": (StepKind.LINT, "pmd:check"),
    "spotbugs-maven-plugin": (StepKind.LINT, "spotbugs:check"),
    "spotless-maven-plugin": (StepKind.FORMAT, "spotless:check"),
    "spring-boot-maven-plugin": (StepKind.RUN, "spring-boot:run"),
    "quarkus-maven-plugin": (StepKind.RUN, "quarkus:dev"),
}
_GRADLE_TASKS = (
    (r"com\.diffplug\.spotless", StepKind.FORMAT, "spotlessCheck"),
    (r"org\.jlleitschuh\.gradle\.ktlint", StepKind.LINT, "ktlintCheck"),
    (r"io\.gitlab\.arturbosch\.detekt", StepKind.LINT, "detekt"),
    (
        r"^\s*(?:id\s*\(?\s*[\"']checkstyle[\"']|checkstyle\s*$|apply\s+plugin:\s*[\"']checkstyle)",
        StepKind.LINT,
        "checkstyleMain",
    ),
    (
        r"^\s*(?:id\s*\(?\s*[\"']org\.springframework\.boot|apply\s+plugin:\s*[\"']org\.springframework\.boot)",
        StepKind.RUN,
        "bootRun",
    ),
    (r"^\s*(?:id\s*\(?\s*[\"']io\.quarkus[\"'])", StepKind.RUN, "quarkusDev"),
    (
        r"^\s*(?:id\s*\(?\s*[\"']application[\"']|application\s*$|apply\s+plugin:\s*[\"']application)",
        StepKind.RUN,
        "run",
    ),
)
"""Plugin in a build file (RE2), and the task that it brings."""
_LANGUAGES = (".java", ".kt", ".groovy", ".scala")
_TEST_SOURCE = re.compile(r"^(?:.*(?:Test|Tests|IT|Spec)|Test.+)\.(?:java|kt|groovy|scala)$")


def detect_java(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for Maven and Gradle; modules of a multi-module build belong to its root."""
    maven = [d for d in workspace.directories_with("pom.xml") if not _maven_module(workspace, d)]
    maven = [d for d in maven if workspace.xml(join(d, "pom.xml")) is not None]
    gradle = _gradle_roots(workspace)
    ant = [d for d in workspace.directories_with("build.xml") if _is_ant(workspace, d)]
    owners = {*maven, *gradle, *(d for d in ant if not any(above in ant for above in parents(d)))}
    tests = workspace.owned_files(owners, lambda name: bool(_TEST_SOURCE.match(name)), *_LANGUAGES)
    for directory in nearest(owners):
        first = tests[directory][0] if tests[directory] else ""
        if kotlin := _kotlin(workspace, directory):
            yield Candidate(directory, ECOSYSTEM, (Evidence(kotlin, 0, "Kotlin source", 0.3),))
        if directory in maven:
            yield from _maven(workspace, directory, first)
        if directory in gradle:
            yield from _gradle(workspace, directory, first)
        if directory in ant:
            yield from _ant(workspace, directory, first)


def _kotlin(workspace: Workspace, directory: str) -> str:
    """The first Kotlin source of the project; empty if it has none."""
    return next(iter(under(workspace.ending(".kt"), directory)), "")


# Maven


def _maven(workspace: Workspace, directory: str, test: str) -> Iterator[Candidate]:
    path = join(directory, "pom.xml")
    root = workspace.xml(path)
    if root is None:
        return
    evidence = workspace.evidence(path, "pom.xml", 0.93, "<project")
    program, wrapper, version = _maven_program(workspace, directory)
    yield Candidate(directory, ECOSYSTEM, (evidence,))
    yield Candidate(directory, ECOSYSTEM, (evidence, *wrapper), manager="maven", version=version)
    for name in _PROPERTIES:
        wanted = _text(root, "properties", name)
        if wanted and not wanted.startswith("${"):
            source = workspace.evidence(path, name, 0.85, f"<{name}>")
            yield Candidate(directory, ECOSYSTEM, (source,), runtime=RuntimeVersion("java", wanted, source))
            break
    # In a build of several modules only the reactor can resolve one module for another, so it compiles.
    goal = "test-compile" if _modules(root) else "dependency:resolve"
    yield _step(directory, StepKind.INSTALL, (*program, goal), "maven", Evidence(path, 0, "pom.xml", 0.75))
    yield _step(
        directory, StepKind.BUILD, (*program, "-DskipTests", "package"), "maven", Evidence(path, 0, "pom.xml", 0.85)
    )
    if test:
        yield _step(directory, StepKind.TEST, (*program, "test"), "maven", Evidence(test, 0, "test file", 0.85))
    declared = {_local(item, "artifactId") for item in root.iter() if item.tag.rpartition("}")[2] == "plugin"}
    for plugin, (kind, check) in _CHECKS.items():
        # A program is started in its own module, not in the root of several.
        if plugin in declared and not (kind is StepKind.RUN and _modules(root)):
            found = workspace.evidence(path, f"plugin {plugin}", 0.7, f"<artifactId>{plugin}")
            yield _step(directory, kind, (*program, check), "maven", found, Source.CONFIGURATION)


def _maven_program(workspace: Workspace, directory: str) -> tuple[tuple[str, ...], tuple[Evidence, ...], str]:
    """``./mvnw`` only with its properties; without the execute bit through the shell."""
    properties = join(directory, ".mvn/wrapper/maven-wrapper.properties")
    if not (workspace.has(directory, "mvnw") and workspace.has(directory, ".mvn/wrapper/maven-wrapper.properties")):
        return ("mvn", "-B"), (), ""
    match = _MAVEN_DISTRIBUTION.search(workspace.text(properties))
    start = ("./mvnw",) if workspace.executable(join(directory, "mvnw")) else ("sh", "mvnw")
    return (*start, "-B"), (Evidence(join(directory, "mvnw"), 0, "wrapper", 0.8),), match[1] if match else ""


def _maven_module(workspace: Workspace, directory: str) -> bool:
    """Whether a POM above names this directory as a module."""
    for above in parents(directory):
        if not workspace.has(above, "pom.xml"):
            continue
        inner = directory if above == "." else directory.removeprefix(f"{above}/")
        if inner in workspace.once("modules", join(above, "pom.xml"), lambda path: _modules_at(workspace, path)):
            return True
    return False


def _modules_at(workspace: Workspace, path: str) -> frozenset[str]:
    root = workspace.xml(path)
    return frozenset() if root is None else frozenset(_modules(root))


def _modules(root: Element) -> list[str]:
    return [
        item.text.strip().removesuffix("/pom.xml").rstrip("/")
        for item in root.iter()
        if item.tag.rpartition("}")[2] == "module" and item.text
    ]


def _local(element: Element, name: str) -> str:
    """Text of a child, whatever its XML namespace."""
    return next((child.text or "" for child in element if child.tag.rpartition("}")[2] == name), "").strip()


def _text(root: Element, parent: str, name: str) -> str:
    holder = next((child for child in root if child.tag.rpartition("}")[2] == parent), None)
    return "" if holder is None else _local(holder, name)


# Gradle


def _gradle_roots(workspace: Workspace) -> list[str]:
    """Directories with settings, and build files that no settings above own."""
    settings = set(workspace.directories_with("settings.gradle", "settings.gradle.kts"))
    lone = workspace.directories_with("build.gradle", "build.gradle.kts")
    roots = set(settings)
    for directory in lone:
        if not any(above in roots for above in parents(directory)):
            roots.add(directory)
    return sorted(d for d in roots if d not in settings or _owns_itself(settings, d))


def _owns_itself(settings: set[str], directory: str) -> bool:
    """Included builds and composite examples below another root are that root's business."""
    return not any(above in settings for above in parents(directory))


def _gradle(workspace: Workspace, directory: str, test: str) -> Iterator[Candidate]:
    name = next(name for name in _GRADLE_FILES if workspace.has(directory, name))
    evidence = Evidence(join(directory, name), 0, name, 0.92)
    program, wrapper, version = _gradle_program(workspace, directory)
    yield Candidate(directory, ECOSYSTEM, (evidence,))
    yield Candidate(directory, ECOSYSTEM, (evidence, *wrapper), manager="gradle", version=version)
    for build in ("build.gradle", "build.gradle.kts"):
        text = workspace.text(join(directory, build))
        if match := _GRADLE_JAVA.search(text):
            source = Evidence(join(directory, build), text.count("\n", 0, match.start()) + 1, "Java toolchain", 0.85)
            runtime = RuntimeVersion("java", match[1] or match[2] or match[3], source)
            yield Candidate(directory, ECOSYSTEM, (source,), runtime=runtime)
    # `dependencies` resolves one project only; compiling main and test classes fetches what all of them need.
    yield _step(directory, StepKind.INSTALL, (*program, "testClasses"), "gradle", Evidence(evidence.path, 0, name, 0.6))
    yield _step(directory, StepKind.BUILD, (*program, "assemble"), "gradle", Evidence(evidence.path, 0, name, 0.8))
    if test:
        yield _step(directory, StepKind.TEST, (*program, "test"), "gradle", Evidence(test, 0, "test file", 0.85))

    yield from _gradle_tasks(workspace, directory, program)


def _gradle_tasks(workspace: Workspace, directory: str, program: tuple[str, ...]) -> Iterator[Candidate]:
    """Tasks of plugins: those of the root project, and programs of the projects right below it."""
    names = ("build.gradle", "build.gradle.kts")
    own = [join(directory, name) for name in names if workspace.has(directory, name)]
    depth = 0 if directory == "." else directory.count("/") + 1
    below = [
        join(place, name)
        for name in names
        for place in under(workspace.once("places", name, lambda name: workspace.directories_with(name)), directory)
        if place.count("/") == depth
    ][:MAX_SUBPROJECTS]
    for pattern, kind, task in _GRADLE_TASKS:
        for path in [*own, *below] if kind is StepKind.RUN else own:
            line, _ = find_text(workspace, path, pattern)
            if line and "apply false" not in workspace.lines(path)[line - 1]:
                found = Evidence(path, line, f"plugin of {task}", 0.65)
                yield _step(directory, kind, (*program, task), "gradle", found, Source.CONFIGURATION)
                break


def _gradle_program(workspace: Workspace, directory: str) -> tuple[tuple[str, ...], tuple[Evidence, ...], str]:
    """``./gradlew`` only where all its three parts are there; else the ``gradle`` of the machine."""
    properties = f"{_WRAPPER}.properties"
    match = _DISTRIBUTION.search(workspace.text(join(directory, properties)))
    version = match[1] if match else ""
    if not all(workspace.has(directory, name) for name in ("gradlew", properties, f"{_WRAPPER}.jar")):
        return ("gradle", "--no-daemon"), (), version
    start = ("./gradlew",) if workspace.executable(join(directory, "gradlew")) else ("sh", "gradlew")
    return (*start, "--no-daemon"), (Evidence(join(directory, "gradlew"), 0, "wrapper", 0.8),), version


def _step(
    directory: str,
    kind: StepKind,
    argv: tuple[str, ...],
    manager: str,
    evidence: Evidence,
    source: Source = Source.DEFAULT,
) -> Candidate:
    command = Command.of(*argv, cwd=directory)
    return Candidate(directory, ECOSYSTEM, (evidence,), kind=kind, command=command, only_with=(manager,), source=source)


# Ant


def _is_ant(workspace: Workspace, directory: str) -> bool:
    root = workspace.xml(join(directory, "build.xml"))
    if workspace.has(directory, "composer.json"):  # Phing, the Ant of PHP, uses the same name
        return False
    return root is not None and root.tag == "project" and root.find("target") is not None


def _ant(workspace: Workspace, directory: str, test: str) -> Iterator[Candidate]:
    path = join(directory, "build.xml")
    root = workspace.xml(path)
    if root is None:
        return
    evidence = workspace.evidence(path, "build.xml", 0.6, "<project")
    yield Candidate(directory, ECOSYSTEM, (evidence,))
    yield Candidate(directory, ECOSYSTEM, (evidence,), manager="ant")
    targets = {target.get("name") for target in root.iter("target")}
    if root.get("default"):
        yield _step(directory, StepKind.BUILD, ("ant",), "ant", Evidence(path, 0, "default target", 0.7))
    if test and "test" in targets:
        found = workspace.evidence(path, "target test", 0.75, '<target name="test"')
        yield _step(directory, StepKind.TEST, ("ant", "test"), "ant", found)
