"""Scenarios of Go, cargo and maven."""

from __future__ import annotations

from collections.abc import Mapping

from tests.integration.hardening.scenario import Fixed, Left, Scenario

__all__ = ["COMPILED"]

GO_MOD = "module example.com/acme\n\ngo 1.21\n"
GO_LIB = "package acme\n\nfunc Double(x int) int { return 2 * x }\n"
GO_TEST = (
    'package acme\n\nimport "testing"\n\n'
    "func TestDouble(t *testing.T) {\n\tif Double(2) != 4 {\n\t\tt.Fatal(Double(2))\n\t}\n}\n"
)
GO_VET = ("go", "vet", "./...")
GO_UUID = GO_LIB.replace("acme\n", 'acme\n\nimport _ "github.com/google/uuid"\n')
WITH_UUID = {".gitignore": "vendor-cache/\n", "go.mod": GO_MOD, "acme.go": GO_UUID}

GO: tuple[Scenario, ...] = (
    Scenario(
        name="go/wrong-directory",
        broken="go runs above the only module",
        files={"service/go.mod": GO_MOD, "service/acme.go": GO_LIB},
        command=GO_VET,
        expected=Fixed(("go.no_go_mod",), ("run in service",)),
        needs=("go",),
    ),
    Scenario(
        name="go/unformatted",
        broken="the agent wrote a file that gofmt would write otherwise",
        files={"go.mod": GO_MOD, "acme.go": GO_LIB},
        breaks="printf 'package acme\\nvar   X=1\\n' > acme.go",
        command=("gofmt", "-d", "."),
        expected=Fixed(("go.gofmt",), ("run formatter: gofmt -w acme.go",)),
        needs=("gofmt",),
    ),
    Scenario(
        name="go/vendor-outdated",
        broken="a module of the same repository is required, and vendor was not made anew",
        files={
            "go.mod": f"{GO_MOD}\nrequire example.com/b v0.0.0\n\nreplace example.com/b => ./b\n",
            "acme.go": GO_LIB.replace("acme\n", 'acme\n\nimport _ "example.com/b"\n'),
            "b/go.mod": "module example.com/b\n\ngo 1.21\n",
            "b/b.go": "package b\n",
        },
        setup="go mod vendor; sed -i '/example.com.b/d' vendor/modules.txt",
        command=("go", "vet", "."),
        via="applier",
        expected=Fixed(("go.inconsistent_vendoring",), ("run command: go mod vendor",), consent=True),
        needs=("go",),
    ),
    Scenario(
        name="go/checksums-missing",
        broken="go.sum has no line for a required module",
        files=WITH_UUID,
        setup="go mod edit -require=github.com/google/uuid@v1.6.0",
        command=GO_VET,
        via="applier",
        expected=Fixed(("go.missing_go_sum",), ("regenerate lockfile: go mod tidy",), consent=True),
        needs=("go",),
    ),
    Scenario(
        name="go/checksum-mismatch",
        broken="the module is not the one whose checksum was reviewed",
        files=WITH_UUID,
        setup="go mod tidy; sed -i 's/h1:....../h1:AAAAAA/' go.sum",
        command=GO_VET,
        via="applier",
        expected=Left("go.checksum_mismatch", "checksum"),
        needs=("go",),
    ),
    Scenario(
        name="go/undeclared-package",
        broken="a package is imported that go.mod does not require",
        files=WITH_UUID,
        command=GO_VET,
        via="applier",
        expected=Left("go.no_required_module", "github.com/google/uuid"),
        needs=("go",),
    ),
    Scenario(
        name="go/undefined-name",
        broken="a name is used that nothing defines",
        files={"go.mod": GO_MOD, "acme.go": GO_LIB.replace("2 * x", "2 * y")},
        command=("go", "build", "./..."),
        expected=Left("go.undefined", "y"),
        needs=("go",),
    ),
    Scenario(
        name="go/failing-test",
        broken="a test fails",
        files={"go.mod": GO_MOD, "acme.go": GO_LIB, "acme_test.go": GO_TEST.replace("4", "5")},
        command=("go", "test", "./..."),
        via="applier",
        expected=Left("go.test_failed", "test"),
        needs=("go",),
    ),
)

CARGO_TOML = '[package]\nname = "acme"\nversion = "0.1.0"\nedition = "2021"\n'
RUST_LIB = "pub fn double(x: i32) -> i32 {\n    2 * x\n}\n"
RUST_TEST = "\n#[test]\nfn doubles() {\n    assert_eq!(double(2), 5);\n}\n"
CHECK = ("cargo", "check", "--quiet")


def crate(lib: str = RUST_LIB, more: str = "") -> Mapping[str, str]:
    """A crate."""
    return {".gitignore": "target/\n", "Cargo.toml": CARGO_TOML + more, "src/lib.rs": lib}


CARGO: tuple[Scenario, ...] = (
    Scenario(
        name="cargo/wrong-directory",
        broken="cargo runs above the only crate",
        files={".gitignore": "target/\n", "native/Cargo.toml": CARGO_TOML, "native/src/lib.rs": RUST_LIB},
        setup="cd native; cargo generate-lockfile -q",
        command=CHECK,
        expected=Fixed(("cargo.no_manifest",), ("run in native",)),
        needs=("cargo",),
    ),
    Scenario(
        name="cargo/unformatted",
        broken="the agent wrote a file that rustfmt would write otherwise",
        files=crate(),
        breaks="echo 'pub  fn one()->i32{1}' > src/lib.rs",
        command=("cargo", "fmt", "--check"),
        expected=Fixed(("fmt.rustfmt",), ("run formatter: rustfmt --edition 2021 src/lib.rs",)),
        needs=("cargo", "rustfmt"),
    ),
    Scenario(
        name="cargo/lock-outdated",
        broken="a dependency was added, and Cargo.lock was not made anew",
        files={
            **crate(),
            "b/Cargo.toml": CARGO_TOML.replace("acme", "b"),
            "b/src/lib.rs": RUST_LIB,
        },
        setup="cargo generate-lockfile -q; printf '[dependencies]\\nb = { path = \"b\" }\\n' >> Cargo.toml",
        command=(*CHECK, "--locked"),
        via="applier",
        expected=Fixed(("cargo.lock_outdated",), ("regenerate lockfile: cargo update",), consent=True),
        needs=("cargo",),
    ),
    Scenario(
        name="cargo/lock-missing",
        broken="Cargo.lock was never made",
        files=crate(),
        command=(*CHECK, "--locked"),
        via="applier",
        expected=Fixed(("cargo.lock_missing",), ("regenerate lockfile: cargo generate-lockfile",), consent=True),
        needs=("cargo",),
    ),
    Scenario(
        name="cargo/checksum-changed",
        broken="the crate is not the one whose checksum was reviewed",
        files=crate(more='\n[dependencies]\nitoa = "=1.0.14"\n'),
        setup="cargo generate-lockfile -q; sed -i 's/checksum = \"......../checksum = \"00000000/' Cargo.lock",
        command=(*CHECK, "--locked"),
        via="applier",
        expected=Left("cargo.checksum_changed", "not what was locked"),
        needs=("cargo",),
    ),
    Scenario(
        name="cargo/no-such-version",
        broken="the required version does not exist",
        files=crate(more='\n[dependencies]\nitoa = "=99.0.0"\n'),
        command=CHECK,
        via="applier",
        expected=Left("cargo.version_conflict", "the registry does not have"),
        needs=("cargo",),
    ),
    Scenario(
        name="cargo/type-error",
        broken="a text is returned where a number is promised",
        files=crate(RUST_LIB.replace("2 * x", '"x"')),
        setup="cargo generate-lockfile -q",
        command=CHECK,
        expected=Left("rust.compile_error", "the file and the line"),
        needs=("cargo",),
    ),
    Scenario(
        name="cargo/failing-test",
        broken="a test fails",
        files=crate(RUST_LIB + RUST_TEST),
        setup="cargo generate-lockfile -q",
        command=("cargo", "test", "--quiet"),
        env={"CARGO_TARGET_DIR": "../target"},
        via="applier",
        expected=Left("rust.test_failed", "test"),
        needs=("cargo",),
    ),
)

POM = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId>
  <artifactId>acme</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source>
    <maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
</project>
""".lstrip()
MVN = ("mvn", "-B", "-ntp")
JAVA = "class App {\n    int one() {\n        return 1;\n    }\n}\n"

MAVEN: tuple[Scenario, ...] = (
    Scenario(
        name="maven/wrong-directory",
        broken="mvn runs above the only pom.xml",
        files={".gitignore": "target/\n", "service/pom.xml": POM},
        command=(*MVN, "validate"),
        expected=Fixed(("mvn.no_pom",), ("run in service",)),
        needs=("mvn",),
    ),
    Scenario(
        name="maven/offline",
        broken="a plugin is needed that is not here, and mvn may not fetch it",
        files={".gitignore": "target/\nrepository/\n", "pom.xml": POM},
        command=(*MVN, "-o", "-Dmaven.repo.local=repository", "clean"),
        via="applier",
        expected=Fixed(("mvn.offline_plugin",), ("edit command: mvn -B -ntp -Dmaven.repo.local",), consent=True),
        needs=("mvn",),
    ),
    Scenario(
        name="maven/no-such-phase",
        broken="the phase is misspelt",
        files={".gitignore": "target/\n", "pom.xml": POM},
        command=(*MVN, "verfiy"),
        via="applier",
        expected=Left("mvn.unknown_phase", "verfiy"),
        needs=("mvn",),
    ),
    Scenario(
        name="maven/no-such-version",
        broken="the version of a dependency does not exist",
        files={
            ".gitignore": "target/\n",
            "pom.xml": POM.replace(
                "  <properties>",
                "  <dependencies>\n    <dependency>\n      <groupId>junit</groupId>\n"
                "      <artifactId>junit</artifactId>\n      <version>99.0</version>\n    </dependency>\n"
                "  </dependencies>\n  <properties>",
            ),
            "src/main/java/App.java": JAVA,
        },
        command=(*MVN, "compile"),
        via="applier",
        expected=Left("mvn.dependency_resolution", "check the version", consent_helps=True),
        needs=("mvn",),
    ),
    Scenario(
        name="maven/type-error",
        broken="a text is returned where a number is promised",
        files={".gitignore": "target/\n", "pom.xml": POM, "src/main/java/App.java": JAVA.replace(" 1", ' "1"')},
        command=(*MVN, "compile"),
        via="applier",
        expected=Left("mvn.compilation", "name every error"),
        needs=("mvn",),
    ),
)

COMPILED: tuple[Scenario, ...] = (*GO, *CARGO, *MAVEN)
