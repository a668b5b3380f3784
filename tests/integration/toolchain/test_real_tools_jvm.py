"""Java projects: what detection proposes is run, with the real tools."""

from __future__ import annotations

import pytest
from autopack_toolchain import StepKind

from tests.integration.toolchain.real_project import RealProject

pytestmark = pytest.mark.timeout(900)

JAVA = """
package com.example;

public final class Calc {
    private Calc() { }

    public static int add(int a, int b) {
        return a + b;
    }
}
"""

JUNIT_4 = """
package com.example;

import static org.junit.Assert.assertEquals;

import java.nio.file.Files;
import java.nio.file.Paths;
import org.junit.Test;

public class CalcTest {
    @Test
    public void adds() throws Exception {
        Files.write(Paths.get("the-test-ran"), new byte[0]);
        assertEquals(42, Calc.add(40, 2));
    }
}
"""

POM = """
<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  {identity}
  <properties>
    <maven.compiler.source>11</maven.compiler.source>
    <maven.compiler.target>11</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency>
      <groupId>junit</groupId>
      <artifactId>junit</artifactId>
      <version>4.13.2</version>
      <scope>test</scope>
    </dependency>
  </dependencies>
</project>
"""

IDENTITY = "<groupId>com.example</groupId>\n  <artifactId>{}</artifactId>\n  <version>1.0.0</version>"


def test_maven(project: RealProject) -> None:
    project.needs("mvn", "javac")
    project.write(
        {
            "pom.xml": POM.format(identity=IDENTITY.format("calc")),
            "src/main/java/com/example/Calc.java": JAVA,
            "src/test/java/com/example/CalcTest.java": JUNIT_4,
            ".gitignore": "target/\n",
        }
    )
    project.prove(manager="maven", test="src/test/java/com/example/CalcTest.java", also=(StepKind.BUILD,))


@pytest.mark.long
def test_maven_with_modules(project: RealProject) -> None:
    project.needs("mvn", "javac")
    root = POM.format(identity=IDENTITY.format("all") + "\n  <packaging>pom</packaging>").replace(
        "  <properties>", "  <modules><module>calc</module><module>sums</module></modules>\n  <properties>"
    )
    parent = "<parent>" + IDENTITY.format("all") + "</parent>\n  <artifactId>{}</artifactId>"
    needs = (
        "<dependency><groupId>com.example</groupId><artifactId>calc</artifactId><version>1.0.0</version></dependency>"
    )
    sums = POM.format(identity=parent.format("sums")).replace("<dependencies>", f"<dependencies>\n    {needs}")
    project.write(
        {
            "pom.xml": root,
            "calc/pom.xml": POM.format(identity=parent.format("calc")),
            "calc/src/main/java/com/example/Calc.java": JAVA,
            "sums/pom.xml": sums,
            "sums/src/test/java/com/example/CalcTest.java": JUNIT_4,
            ".gitignore": "target/\n",
        }
    )
    project.prove(manager="maven", test="sums/src/test/java/com/example/CalcTest.java")


def test_gradle(project: RealProject) -> None:
    project.needs("gradle", "javac")
    build = """
plugins {
    id 'java'
}

repositories {
    mavenCentral()
}

dependencies {
    testImplementation 'junit:junit:4.13.2'
}
"""
    project.write(
        {
            "settings.gradle": "rootProject.name = 'calc'\n",
            "build.gradle": build,
            "src/main/java/com/example/Calc.java": JAVA,
            "src/test/java/com/example/CalcTest.java": JUNIT_4,
            ".gitignore": "build/\n.gradle/\n",
        }
    )
    project.prove(manager="gradle", test="src/test/java/com/example/CalcTest.java", also=(StepKind.BUILD,))
