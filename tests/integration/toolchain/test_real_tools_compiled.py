"""Go, Rust and C projects: what detection proposes is run, with the real tools."""

from __future__ import annotations

import pytest
from autopack_toolchain import StepKind

from tests.integration.toolchain.real_project import RealProject

pytestmark = pytest.mark.timeout(900)

GO_TEST = """
package calc

import (
	"os"
	"testing"

	"github.com/pkg/errors"
)

func TestAdd(t *testing.T) {
	if err := os.WriteFile("the-test-ran", nil, 0o600); err != nil {
		t.Fatal(errors.Wrap(err, "proof"))
	}
	if Add(40, 2) != 42 {
		t.Fatal("wrong")
	}
}
"""

GO_LIBRARY = """
// Package calc adds.
package calc

// Add adds.
func Add(a, b int) int { return a + b }
"""

RUST_LIBRARY = """
pub fn add(a: i32, b: i32) -> i32 {
    a + b
}

#[cfg(test)]
mod tests {
    use super::add;

    #[test]
    fn adds() {
        std::fs::write("the-test-ran", "").unwrap();
        assert_eq!(add(40, 2), 42);
    }
}
"""

C_LIBRARY = """
int add(int a, int b);
int add(int a, int b) { return a + b; }
"""

C_TEST = """
#include <stdio.h>

int add(int a, int b);

int main(void) {
    FILE *proof = fopen("the-test-ran", "w");
    if (proof == NULL) return 2;
    fclose(proof);
    return add(40, 2) == 42 ? 0 : 1;
}
"""


def test_go(project: RealProject) -> None:
    project.needs("go")
    project.write(
        {
            "go.mod": "module example.com/calc\n\ngo 1.19\n\nrequire github.com/pkg/errors v0.9.1\n",
            "calc.go": GO_LIBRARY,
            "calc_test.go": GO_TEST,
        }
    )
    project.tool("go", "mod", "tidy")
    project.prove(manager="go", test="calc_test.go", also=(StepKind.BUILD, StepKind.LINT))


def test_go_below_the_root(project: RealProject) -> None:
    project.needs("go")
    test = GO_TEST.replace('\n\n\t"github.com/pkg/errors"', "").replace('errors.Wrap(err, "proof")', "err")
    project.write(
        {
            "README.md": "Two services.\n",
            "services/calc/go.mod": "module example.com/calc\n\ngo 1.19\n",
            "services/calc/calc.go": GO_LIBRARY,
            "services/calc/sums/sums_test.go": test.replace("package calc", "package sums")
            .replace('import (\n\t"os"\n\t"testing"\n)', 'import (\n\t"os"\n\t"testing"\n\n\t"example.com/calc"\n)')
            .replace("Add(40", "calc.Add(40"),
        }
    )
    project.prove(manager="go", workdir="services/calc", test="services/calc/sums/sums_test.go", installs=False)


def test_cargo(project: RealProject) -> None:
    project.needs("cargo", "cargo-clippy", "cargo-fmt")
    manifest = """
[package]
name = "calc"
version = "1.0.0"
edition = "2021"

[dependencies]
itoa = "=1.0.10"
"""
    project.write({"Cargo.toml": manifest, "src/lib.rs": RUST_LIBRARY, ".gitignore": "target/\n"})
    project.tool("cargo", "generate-lockfile")
    checks = (StepKind.BUILD, StepKind.LINT, StepKind.FORMAT)
    project.prove(manager="cargo", test="src/lib.rs", also=checks)


def test_a_cargo_workspace(project: RealProject) -> None:
    project.needs("cargo", "cargo-clippy", "cargo-fmt")
    member = '[package]\nname = "{}"\nversion = "1.0.0"\nedition = "2021"\n'
    project.write(
        {
            "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n',
            "crates/calc/Cargo.toml": member.format("calc"),
            "crates/calc/src/lib.rs": RUST_LIBRARY,
            "crates/tool/Cargo.toml": member.format("tool") + '\n[dependencies]\ncalc = { path = "../calc" }\n',
            "crates/tool/src/main.rs": 'fn main() {\n    println!("{}", calc::add(1, 2));\n}\n',
            ".gitignore": "target/\n",
        }
    )
    project.prove(manager="cargo", test="crates/calc/src/lib.rs", also=(StepKind.BUILD,), installs=False)


def test_make(project: RealProject) -> None:
    project.needs("make", "cc")
    makefile = """
all: calc.o

calc.o: calc.c
	$(CC) -c -o $@ $<

test_calc: calc.o test_calc.c
	$(CC) -o $@ test_calc.c calc.o

test: test_calc
	./test_calc

.PHONY: all test
"""
    project.write({"Makefile": makefile, "calc.c": C_LIBRARY, "test_calc.c": C_TEST, ".gitignore": "*.o\n/test_calc\n"})
    project.prove(manager="make", test="test_calc.c", also=(StepKind.BUILD,), installs=False)


CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(calc C)
add_library(calc calc.c)
enable_testing()
add_executable(test_calc tests/test_calc.c)
target_link_libraries(test_calc calc)
add_test(NAME adds COMMAND test_calc)
"""


def test_cmake(project: RealProject) -> None:
    project.needs("cmake", "cc", "make")
    project.write({"CMakeLists.txt": CMAKE, "calc.c": C_LIBRARY, "tests/test_calc.c": C_TEST, ".gitignore": "build/\n"})
    project.prove(manager="cmake", test="tests/test_calc.c", also=(StepKind.BUILD,), installs=False)


def test_meson(project: RealProject) -> None:
    project.needs("meson", "ninja", "cc")
    manifest = """
project('calc', 'c')
library = static_library('calc', 'calc.c')
test('adds', executable('test_calc', 'tests/test_calc.c', link_with: library))
"""
    project.write(
        {"meson.build": manifest, "calc.c": C_LIBRARY, "tests/test_calc.c": C_TEST, ".gitignore": "build*/\n"}
    )
    project.prove(manager="meson", test="tests/test_calc.c", also=(StepKind.BUILD,), installs=False)


@pytest.mark.long
def test_autotools(project: RealProject) -> None:
    project.needs("automake", "make", "cc")
    project.write(
        {
            "configure.ac": "AC_INIT([calc], [1.0])\nAM_INIT_AUTOMAKE([foreign subdir-objects])\nAC_PROG_CC\n"
            "AC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
            "Makefile.am": "check_PROGRAMS = test_calc\ntest_calc_SOURCES = tests/test_calc.c calc.c\n"
            "TESTS = test_calc\n",
            "calc.c": C_LIBRARY,
            "tests/test_calc.c": C_TEST,
            ".gitignore": "*.o\n/test_calc\n/Makefile*\n!/Makefile.am\n/a*.*\n/config*\n!/configure.ac\n",
        }
    )
    project.prove(manager="make", test="tests/test_calc.c", installs=False)
