"""What may be installed: the declared, by the project's own command, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from autopack_hardening import (
    DeclaredAtBase,
    DeclaredDependency,
    Diagnosis,
    Ending,
    Failure,
    InstallDeclared,
    ProjectFacts,
    diagnose,
)
from autopack_kit.commands import Command

PIP = Command.of("python", "-m", "pip", "install", "-r", "requirements.txt")
NPM = Command.of("npm", "ci")
NO_PLUGIN = b"Error importing plugin \"pytest_django\": No module named 'pytest_django'\n"
RUN = Command.of("python", "app.py")


def project(
    *names: str, added: tuple[str, ...] = (), workdir: str = ".", install: Command | None = PIP
) -> ProjectFacts:
    path = "requirements.txt" if workdir == "." else f"{workdir}/requirements.txt"
    dependencies = [DeclaredDependency(name, path, True) for name in names]
    dependencies += [DeclaredDependency(name, path, False) for name in added]
    return ProjectFacts(workdir, "python", "pip", (install,) if install else (), tuple(dependencies))


def node(*names: str) -> ProjectFacts:
    dependencies = tuple(DeclaredDependency(name, "package.json", True) for name in names)
    return ProjectFacts(".", "node", "npm", (NPM,), dependencies)


def only(failure: Failure) -> Diagnosis:
    (found,) = diagnose(failure).diagnoses
    return found


def missing(module: str, *projects: ProjectFacts, paths: tuple[str, ...] = (), command: Command = RUN) -> Failure:
    output = f"ModuleNotFoundError: No module named '{module}'\n".encode()
    return Failure(command, Ending(exit_code=1), output, projects, paths)


def no_package(specifier: str, *projects: ProjectFacts) -> Failure:
    output = f"Error: Cannot find module '{specifier}'\nRequire stack:\n- /w/a.js\n".encode()
    return Failure(Command.of("node", "a.js"), Ending(exit_code=1), output, projects)


def installed(diagnosis: Diagnosis) -> InstallDeclared:
    (action,) = diagnosis.mitigation.actions
    assert isinstance(action.kind, InstallDeclared)
    return action.kind


@pytest.mark.parametrize(
    ("module", "declared"),
    [
        ("yaml", "PyYAML"),
        ("cv2", "opencv-python-headless"),
        ("more_itertools", "more.itertools"),
        ("PIL", "pillow"),
        ("google", "google-cloud-storage"),
        ("google.protobuf", "protobuf"),
        ("google.cloud.storage", "google-cloud-storage"),
        ("ruamel.yaml", "ruamel.yaml"),
        ("sklearn", "scikit_learn"),
        ("requests", "requests"),
    ],
)
def test_a_module_of_a_declared_distribution_is_installed_as_declared(module: str, declared: str) -> None:
    found = only(missing(module, project("flask", declared)))
    assert installed(found) == InstallDeclared((PIP,), (declared,), "requirements.txt")
    assert found.mitigation.automatic
    assert DeclaredAtBase(declared, "requirements.txt") in found.mitigation.actions[0].preconditions


@pytest.mark.parametrize("module", ["yaml", "reqeusts", "google", "acme_internal"])
def test_an_undeclared_name_is_advice_with_its_risk_and_no_action(module: str) -> None:
    found = only(missing(module, project("flask")))
    assert found.mitigation.actions == ()
    assert not found.mitigation.automatic
    (suggestion,) = found.mitigation.suggestions
    assert repr(module) in suggestion.text
    assert "registered on a public index" in suggestion.risk
    assert "pip install" not in suggestion.text


def test_what_the_run_itself_declared_needs_consent() -> None:
    found = only(missing("yaml", project("flask", added=("pyyaml",))))
    assert installed(found).distributions == ("pyyaml",)
    assert not found.mitigation.automatic
    assert "pyyaml in requirements.txt" in found.mitigation.consent_reason


def test_an_install_that_would_bring_another_added_name_needs_consent_too() -> None:
    found = only(missing("yaml", project("pyyaml", added=("evil",))))
    assert not found.mitigation.automatic
    assert "evil in requirements.txt" in found.mitigation.consent_reason


@pytest.mark.parametrize("module", ["distutils", "imp", "_sqlite3", "tomllib", "asyncore"])
def test_a_module_of_the_standard_library_is_never_installed(module: str) -> None:
    for found in diagnose(missing(module, project("flask", module))).diagnoses:
        assert found.pattern_id != "py.module_not_found"
        assert found.mitigation.actions == ()


@pytest.mark.parametrize("path", ["acme/__init__.py", "src/acme/__init__.py", "acme.py", "lib/python/acme/__init__.py"])
def test_the_projects_own_module_is_never_installed(path: str) -> None:
    for found in diagnose(missing("acme", project("flask"), paths=(path, "app.py"))).diagnoses:
        assert found.pattern_id != "py.module_not_found"


def test_a_declared_module_is_installed_although_an_example_bears_its_name() -> None:
    found = only(missing("flask", project("flask"), paths=("docs/examples/flask.py", "app.py")))
    assert installed(found).distributions == ("flask",)


def test_a_submodule_that_the_installed_version_lacks_is_no_missing_dependency() -> None:
    found = only(missing("requests.nonsense", project("requests")))
    assert (found.pattern_id, found.mitigation.automatic) == ("py.import_name", False)


def test_the_project_around_the_cwd_is_asked_first() -> None:
    backend = project("pyyaml", workdir="backend", install=replace(PIP, cwd="backend"))
    found = only(missing("yaml", project("pyyaml"), backend, command=replace(RUN, cwd="backend")))
    assert installed(found).commands[0].cwd == "backend"


def test_a_name_that_two_other_projects_declare_is_not_installed() -> None:
    one, two = project("pyyaml", workdir="a"), project("pyyaml", workdir="b")
    assert only(missing("yaml", one, two)).mitigation.actions == ()


def test_the_install_command_that_names_the_file_is_chosen() -> None:
    dev = Command.of("python", "-m", "pip", "install", "-r", "dev.txt")
    facts = ProjectFacts(".", "python", "pip", (PIP, dev), (DeclaredDependency("pytest", "dev.txt", True),))
    assert installed(only(missing("pytest", facts))).commands == (dev,)


def test_a_failing_install_is_not_repeated() -> None:
    found = only(missing("yaml", project("pyyaml"), command=PIP))
    assert found.mitigation.actions == ()


def test_a_project_without_an_install_command_gets_advice() -> None:
    assert only(missing("yaml", project("pyyaml", install=None))).mitigation.actions == ()


def test_the_declared_of_several_missing_are_installed_and_the_others_named() -> None:
    output = b"".join(b"ModuleNotFoundError: No module named '%s'\n" % name for name in (b"yaml", b"flask", b"evil"))
    found = only(Failure(RUN, Ending(exit_code=1), output, (project("pyyaml", "flask"),)))
    assert installed(found).distributions == ("flask", "pyyaml")
    assert "'evil'" in found.mitigation.suggestions[0].text


@pytest.mark.parametrize(
    ("command", "output", "code", "declared"),
    [
        (Command.of("python", "-m", "pytest"), b"/w/.venv/bin/python: No module named pytest\n", 1, "pytest"),
        (Command.of("pytest"), b"/bin/sh: 1: pytest: not found\n", 127, "pytest"),
        (Command.of("make", "test"), b"make: pytest: No such file or directory\n", 2, "pytest"),
        (Command.of("pytest", "--cov=a"), b"pytest: error: unrecognized arguments: --cov=a\n", 4, "pytest-cov"),
        (Command.of("pytest", "-n", "4"), b"pytest: error: unrecognized arguments: -n 4\n", 4, "pytest-xdist"),
        (Command.of("pytest"), NO_PLUGIN, 4, "pytest-django"),
        (Command.of("python", "manage.py"), b"ImportError: Couldn't import Django. Are you sure", 1, "Django"),
    ],
)  # fmt: skip
def test_programs_and_plugins_of_declared_distributions_count(
    command: Command, output: bytes, code: int, declared: str
) -> None:
    found = only(Failure(command, Ending(exit_code=code), output, (project(declared),)))
    assert installed(found).distributions == (declared,)


@pytest.mark.parametrize(
    ("specifier", "declared"),
    [
        ("express", "express"),
        ("lodash/fp", "lodash"),
        ("@acme/ui/button", "@acme/ui"),
        ("react-dom", "react-dom"),
        ("socket.io", "socket.io"),
        ("JSONStream", "JSONStream"),
    ],
)
def test_a_declared_package_is_installed_by_its_whole_name(specifier: str, declared: str) -> None:
    found = only(no_package(specifier, node("react", declared)))
    assert installed(found) == InstallDeclared((NPM,), (declared,), "package.json")
    assert found.mitigation.automatic


@pytest.mark.parametrize(
    "specifier", ["./x", "../x", "/w/dist/x.js", "node:fs", "fs", "@/x", "~/x", "#x", "C:\\x", "a b"]
)
def test_what_is_no_package_is_no_missing_dependency(specifier: str) -> None:
    found = diagnose(no_package(specifier, node("express"))).diagnoses
    assert not [one for one in found if "node_missing_dep" in one.aliases]


@pytest.mark.parametrize("specifier", ["expres", "left-pad", "; rm -rf /", "--registry=http://x", "../../etc"])
def test_an_undeclared_package_is_never_installed(specifier: str) -> None:
    for found in diagnose(no_package(specifier, node("express"))).diagnoses:
        assert found.mitigation.actions == ()


@pytest.mark.parametrize(("program", "declared"), [("jest", "jest"), ("tsc", "typescript"), ("ng", "@angular/cli")])
def test_a_program_of_a_declared_package_is_installed(program: str, declared: str) -> None:
    output = f"> test\n> {program}\n\nsh: 1: {program}: not found\n".encode()
    found = only(Failure(Command.of("npm", "test"), Ending(exit_code=127), output, (node(declared),)))
    assert installed(found).distributions == (declared,)


def test_what_only_the_manifest_of_the_other_language_declares_is_not_installed() -> None:
    both = (DeclaredDependency("jest", "package.json", True), DeclaredDependency("black", "requirements.txt", True))
    python, other = ProjectFacts(".", "python", "pip", (PIP,), both), ProjectFacts(".", "node", "npm", (NPM,), both)
    assert not only(missing("jest", python)).mitigation.actions
    assert not only(no_package("black", other)).mitigation.actions
    assert installed(only(no_package("jest", other))).declared_in == "package.json"
