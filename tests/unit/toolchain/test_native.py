"""C and C++: build systems, and tests only where one declares them."""

from __future__ import annotations

from collections.abc import Callable

from autopack_toolchain import Detection, Project, Step, StepKind

Detect = Callable[..., Detection]

CMAKE = "cmake_minimum_required(VERSION 3.20)\nproject(app LANGUAGES CXX)\n"


def native(detection: Detection) -> Project:
    return next(project for project in detection.projects if project.ecosystem == "c")


def script(step: Step | None) -> list[str]:
    assert step is not None
    assert step.command.script is not None
    assert step.command.script.interpreter == ("sh", "-e")
    return step.command.script.text.splitlines()


def test_cmake_configures_builds_and_runs_ctest_in_one_script(detect_files: Detect) -> None:
    project = native(
        detect_files({"CMakeLists.txt": CMAKE + "include(CTest)\n", "main.cpp": "", "src/CMakeLists.txt": ""})
    )
    assert (project.workdir, project.package_manager.name) == (".", "cmake")
    assert script(project.step(StepKind.BUILD)) == ["cmake -S . -B build", "cmake --build build"]
    assert script(project.step(StepKind.TEST)) == [
        "cmake -S . -B build",
        "cmake --build build",
        "ctest --test-dir build --output-on-failure",
    ]
    test = project.step(StepKind.TEST)
    assert test is not None
    assert [(e.path, e.line) for e in test.evidence] == [("CMakeLists.txt", 3)]


def test_an_option_that_leaves_tests_out_is_switched_on(detect_files: Detect) -> None:
    text = CMAKE + 'option(APP_BUILD_TESTS "Build tests" OFF)\nif(APP_BUILD_TESTS)\n  enable_testing()\nendif()\n'
    project = native(detect_files({"CMakeLists.txt": text}))
    assert script(project.step(StepKind.TEST))[0] == "cmake -S . -B build -DAPP_BUILD_TESTS=ON"


def test_what_ci_runs_in_the_build_tree_is_run_after_building_it(detect_files: Detect) -> None:
    workflow = """
on: push
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - run: cmake -B ${{github.workspace}}/build -DCMAKE_BUILD_TYPE=Release
      - run: cmake --build ${{github.workspace}}/build
      - working-directory: ${{github.workspace}}/build
        run: ctest -C Release
"""
    files = {"CMakeLists.txt": CMAKE + "enable_testing()\n", "main.cpp": "", ".github/workflows/ci.yml": workflow}
    project = native(detect_files(files))
    assert script(project.step(StepKind.BUILD)) == ["cmake -S . -B build", "cmake --build build"]
    assert script(project.step(StepKind.TEST))[:2] == ["cmake -S . -B build", "cmake --build build"]
    assert project.step(StepKind.INSTALL) is None
    test = project.step(StepKind.TEST)
    assert test is not None
    assert {e.path for e in test.evidence} == {"CMakeLists.txt", ".github/workflows/ci.yml"}


def test_cmake_without_tests_has_no_test_step(detect_files: Detect) -> None:
    text = CMAKE + "# enable_testing()\n"
    project = native(detect_files({"CMakeLists.txt": text, "test/a.cpp": ""}))
    assert project.step(StepKind.TEST) is None
    assert project.step(StepKind.INSTALL) is None


def test_tests_of_a_copy_of_another_project_are_not_its_own(detect_files: Detect) -> None:
    files = {"CMakeLists.txt": CMAKE, "extern/googletest/CMakeLists.txt": "project(gtest)\nenable_testing()\n"}
    assert native(detect_files(files)).step(StepKind.TEST) is None


def test_fetched_sources_are_the_install_step_of_cmake(detect_files: Detect) -> None:
    project = native(detect_files({"CMakeLists.txt": CMAKE + "FetchContent_Declare(fmt)\n"}))
    install = project.step(StepKind.INSTALL)
    assert install is not None
    assert install.command.argv == ("cmake", "-S", ".", "-B", "build")


def test_the_only_workflow_preset_with_tests_stands_first(detect_files: Detect) -> None:
    presets = '{"workflowPresets": [{"name": "ci", "steps": [{"type": "configure"}, {"type": "test"}]}]}'
    files = {"CMakeLists.txt": CMAKE + "enable_testing()\n", "CMakePresets.json": presets}
    test = native(detect_files(files)).step(StepKind.TEST)
    assert test is not None
    assert test.command.argv == ("cmake", "--workflow", "--preset", "ci")


def test_meson(detect_files: Detect) -> None:
    files = {
        "meson.build": "project('a', 'c')\nsubdir('t')\n",
        "t/meson.build": "test('a', exe)\n",
        "subprojects/x.wrap": "",
    }
    project = native(detect_files(files))
    assert project.package_manager.name == "meson"
    assert script(project.step(StepKind.TEST)) == ["meson setup build", "meson test -C build --print-errorlogs"]
    install = project.step(StepKind.INSTALL)
    assert install is not None
    assert install.command.argv == ("meson", "subprojects", "download")


def test_autotools_with_and_without_a_generated_configure(detect_files: Detect) -> None:
    files = {"configure.ac": "AC_INIT", "Makefile.am": "TESTS = a\n", "a.c": "", "autogen.sh": ""}
    raw = native(detect_files(files))
    assert raw.package_manager.name == "make"
    assert script(raw.step(StepKind.TEST)) == ["autoreconf -fi", "./configure", "make check"]
    generated = native(detect_files(files, executable=frozenset({"autogen.sh"})))
    assert script(generated.step(StepKind.TEST)) == ["./autogen.sh", "./configure", "make check"]
    shipped = native(detect_files({**files, "configure": ""}, executable=frozenset({"configure"})))
    assert script(shipped.step(StepKind.BUILD)) == ["./configure", "make"]


def test_a_makefile_that_compiles_c_is_a_project_of_make(detect_files: Detect) -> None:
    files = {"Makefile": "all: a.o\n\t$(CC) -o a a.o\ntest: all\n\t./run-tests\n", "a.c": ""}
    project = native(detect_files(files))
    assert project.package_manager.name == "make"
    build, test = project.step(StepKind.BUILD), project.step(StepKind.TEST)
    assert build is not None
    assert test is not None
    assert (build.command.argv, test.command.argv) == (("make",), ("make", "test"))


def test_a_makefile_of_commands_is_no_project_of_c(detect_files: Detect) -> None:
    files = {"go.mod": "module a\n", "main.go": "", "Makefile": "test:\n\tgo test ./...\n", "cgo/a.c": ""}
    assert [p.ecosystem for p in detect_files(files).projects] == ["go"]


def test_build_systems_side_by_side_are_alternatives_and_no_conflict(detect_files: Detect) -> None:
    files = {"CMakeLists.txt": CMAKE, "meson.build": "project('a', 'c')\n", "configure.ac": "", "a.c": ""}
    detection = detect_files(files)
    manager = native(detection).package_manager
    assert {manager.name, *(other.name for other in manager.alternatives)} == {"cmake", "meson", "make"}
    assert detection.warnings == ()


def test_an_extension_of_python_is_foremost_a_python_project(detect_files: Detect) -> None:
    pyproject = '[project]\nname = "a"\n[build-system]\nbuild-backend = "scikit_build_core.build"\n'
    detection = detect_files({"pyproject.toml": pyproject, "CMakeLists.txt": CMAKE})
    assert detection.projects[0].ecosystem == "python"


def test_a_makefile_that_leaves_compiling_to_the_one_below_is_the_project(detect_files: Detect) -> None:
    files = {"Makefile": ".DEFAULT:\n\tcd src && $(MAKE) $@\n", "src/Makefile": "a: a.o\n\t$(CC) a.o\n", "src/a.c": ""}
    assert native(detect_files(files)).workdir == "."


def test_a_configure_without_its_source_is_run_as_it_is(detect_files: Detect) -> None:
    files = {"configure": "", "Makefile.in": "", "a.c": "", "test/a.test": ""}
    project = native(detect_files(files, executable=frozenset({"configure"})))
    assert project.package_manager.name == "make"
    assert script(project.step(StepKind.TEST)) == ["./configure", "make check"]
