"""How well failures are named, and how fast: ``python bench/hardening.py --cases C.jsonl --out P.jsonl
[--fail-negatives]``.

``--misses FAMILY`` prints what a family's patterns get wrong, ``--table`` the score of every family: for writers of
patterns.
``python -m bench hardening`` prints score and speed; the score needs the labelled outputs (``AUTOPACK_CORPORA``).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Run as a script, the repository is not on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from autopack_api.common.v1 import common_pb2
from autopack_api.hardening.v1 import hardening_pb2
from autopack_client import connect
from autopack_hardening.adapters.registry import built_in, read_patterns
from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.model import (
    DeclaredDependency,
    Ending,
    Failure,
    ProjectFacts,
    Runtime,
)
from autopack_hardening.core.patterns import parse_line
from autopack_kit.commands import Command

from bench import corrections
from bench.telemetry import serving

CORPUS = Path(os.environ.get("AUTOPACK_CORPORA") or Path(__file__).parents[2] / "shared" / "corpora") / "hardening"
SHOWN_LINES = 6
KIB, MIB = 1 << 10, 1 << 20
Row = tuple[str, float, str, str]
Case = dict[str, Any]


def _project(ecosystem: str, install: Sequence[str], path: str, *names: str) -> ProjectFacts:
    dependencies = tuple(DeclaredDependency(name, path, True) for name in names)
    return ProjectFacts(".", ecosystem, install=(Command.of(*install),), dependencies=dependencies)


# Generous facts: much is declared, much is installed, many files are there. What is automatic with them would be
# automatic for somebody, so it is counted.
PATHS = (
    "pyproject.toml", "poetry.lock", "uv.lock", "src/acme/__init__.py", "tests/test_a.py", "app.py", "main.py", "a.py",
    "web/package.json", "web/index.js", "run.sh", "deploy.sh", "Makefile", "a.c", "go/go.mod", "rust/Cargo.toml",
    "src/main.rs",
    "src/index.ts", "src/a.ts", "src/index.js", "A.java",
)  # fmt: skip
PROJECTS = (
    _project(
        "python", ("pip", "install", "-r", "dev.txt"), "dev.txt", "pytest", "pyyaml", "setuptools", "pip", "requests"
    ),
    _project("node", ("npm", "ci"), "package.json", "express", "jest", "typescript", "eslint", "fsevents", "prettier"),
)
RUNTIMES = tuple(
    Runtime(name, version, f"/opt/{name}-{version}/bin")
    for name, versions in {
        "python": ("3.9.1", "3.13.0"), "node": ("14.0.0", "22.1.0"), "java": ("8", "21.0.1"), "go": ("1.25.0",),
        "rust": ("1.90.0",), "cmake": ("4.0.0",),
    }.items()
    for version in versions
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one case; ``automatic`` also with generous facts."""

    case: Case
    ids: tuple[str, ...]
    automatic: bool

    @property
    def best(self) -> str | None:
        """The first diagnosis."""
        return self.ids[0] if self.ids else None


def failure(case: Case, *, fail_negatives: bool, generous: bool = False) -> Failure:
    """A case as the input of a diagnosis. Its facts are not known; ``generous`` ones are made up."""
    code = case.get("exit_code")
    if code is None:
        code = 1 if case["kind"] == "positive" else 0
    if fail_negatives and case["kind"] == "negative" and code == 0:
        code = 1
    facts: dict[str, Any] = {"projects": PROJECTS, "paths": PATHS, "runtimes": RUNTIMES} if generous else {}
    return Failure(parse_line(case.get("command") or ""), Ending(exit_code=code), case["output"].encode(), **facts)


def predict(core: Diagnostician, case: Case, *, fail_negatives: bool) -> Prediction:
    """The diagnoses of a case."""
    plain = core.diagnose(failure(case, fail_negatives=fail_negatives))
    rich = core.diagnose(failure(case, fail_negatives=fail_negatives, generous=True))
    automatic = any(one.mitigation.automatic for result in (plain, rich) for one in result.diagnoses)
    return Prediction(case, tuple(one.pattern_id for one in plain.diagnoses), automatic)


def read_cases(path: Path) -> list[Case]:
    """The labelled outputs."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def loaded() -> Diagnostician:
    """The packaged patterns. A bad one is left out with a warning: work on one must not stop work on another."""
    good, bad = read_patterns()
    for error in bad:
        print(f"warning: {error}", file=sys.stderr)
    return built_in(good)


def score(predictions: Sequence[Prediction], taxonomy: dict[str, Case]) -> Counter[str]:
    """The counts of the scorer that comes with the corpus."""
    count: Counter[str] = Counter()
    for one in predictions:
        label = one.case["label"]
        if label == "none" or one.case["kind"] == "negative":
            count.update({"negatives": 1, "false+": one.best is not None, "automatic on negatives": one.automatic})
            continue
        entry = taxonomy[label]
        family = taxonomy.get(one.best or "", {}).get("family")
        is_never = not entry["auto_fix_safe"] and not entry["conditional"]
        is_exact, is_tier1 = one.best == label, entry["tier"] == 1
        count.update(
            {
                "positives": 1, "exact": is_exact, "top": label in one.ids, "missed": one.best is None,
                "wrong family": one.best is not None and family != entry["family"], "tier 1": is_tier1,
                "tier 1 exact": is_tier1 and is_exact, "unsafe": one.automatic and is_never,
            }
        )  # fmt: skip
    return count


def print_table(predictions: Sequence[Prediction], taxonomy: dict[str, Case], known: set[str]) -> None:
    """Every family: cases, exact, missed, taken by another id; ids that have no pattern."""
    families = sorted({entry["family"] for entry in taxonomy.values()})
    print(
        f"{'family':18} {'cases':>5} {'exact':>5} {'missed':>6} {'other':>5} {'taken':>5} {'ids':>4} {'no pattern':>10}"
    )
    for family in families:
        ids = {name for name, entry in taxonomy.items() if entry["family"] == family}
        own = [one for one in predictions if one.case["kind"] == "positive" and one.case["label"] in ids]
        exact = sum(one.best == one.case["label"] for one in own)
        missed = sum(one.best is None for one in own)
        taken = sum(one.best in ids and one.best != one.case["label"] and one not in own for one in predictions)
        numbers = f"{len(own):5} {exact:5} {missed:6} {len(own) - exact - missed:5} {taken:5}"
        print(f"{family:18} {numbers} {len(ids):4} {len(ids - known):10}")


def print_misses(predictions: Sequence[Prediction], taxonomy: dict[str, Case], family: str, known: set[str]) -> None:
    """What a family (or a single id) gets wrong: own cases named otherwise, and foreign cases that it takes."""
    ids = {name for name, entry in taxonomy.items() if family in (entry["family"], name)}
    if family == "none":
        for one in predictions:
            if one.case["label"] == "none" and one.best is not None:
                _print_case(one)
        return
    own = [one for one in predictions if one.case["label"] in ids and one.case["kind"] == "positive"]
    for label in sorted(ids):
        mine = [one for one in own if one.case["label"] == label]
        right = sum(one.best == label for one in mine)
        entry = taxonomy[label]
        approval = "automatic" if entry["auto_fix_safe"] else "consent" if entry["conditional"] else "never"
        state = "" if label in known else "  NO PATTERN"
        print(f"{label}: tier {entry['tier']}, {approval}, {entry['mitigation']['action']}: {right}/{len(mine)}{state}")
        for one in mine:
            if one.best != label:
                _print_case(one)
    print("\ntaken from others:")
    for one in predictions:
        if one.best in ids and one not in own:
            _print_case(one)


def _print_case(one: Prediction) -> None:
    case = one.case
    lines = [line for line in case["output"].splitlines() if line.strip()]
    code = case.get("exit_code")
    print(f"  - {case['id']} ({case['label']}, exit {code}): got {', '.join(one.ids[:4]) or 'nothing'}")
    print(f"      $ {(case.get('command') or '(unknown)')[:160]}")
    for line in lines[-SHOWN_LINES:]:
        print(f"      | {line[:160]}")


def run() -> Iterator[Row]:
    """Score and speed, for the table of all benchmarks."""
    core = loaded()
    if (CORPUS / "cases.jsonl").is_file():
        yield from _score_rows(core)
    else:
        print(f"no labelled outputs in {CORPUS}: score skipped; set AUTOPACK_CORPORA", file=sys.stderr)
    yield from _speed_rows(core)


def _score_rows(core: Diagnostician) -> Iterator[Row]:
    cases, taxonomy = read_cases(CORPUS / "cases.jsonl"), _taxonomy()
    count = score([predict(core, case, fail_negatives=False) for case in cases], taxonomy)
    positives = count["positives"]
    yield "named exactly", 100 * count["exact"] / positives, f"% of {positives}", "target 90"
    yield "named exactly, tier 1", 100 * count["tier 1 exact"] / count["tier 1"], f"% of {count['tier 1']}", "target 95"
    yield "of another family", 100 * count["wrong family"] / positives, "%", "target 2 at most"
    yield "diagnosed although it succeeded", count["false+"], f"of {count['negatives']}", "target 0"
    yield "unsafe automatic actions", count["unsafe"], "", "target 0"
    failed = score([predict(core, case, fail_negatives=True) for case in cases], taxonomy)
    yield (
        "the same negatives as failed",
        100 * failed["false+"] / failed["negatives"],
        "% diagnosed",
        "target 3 at most",
    )
    yield "of those, automatic", failed["automatic on negatives"], "", "target 0"
    yield from _rows_beside_thefuck(core, [case for case in cases if case.get("command")], taxonomy)


def _rows_beside_thefuck(core: Diagnostician, cases: Sequence[Case], taxonomy: dict[str, Case]) -> Iterator[Row]:
    """The same commands and outputs, asked of both; thefuck cannot do without the command.

    Something is offered: a correction, of thefuck; an action or a suggestion, of Autopack, which knows nothing of the
    project here. The kind is right: of thefuck, if its first correction does what the label's mitigation does (see
    ``is_right_kind``); of Autopack, if it names the failure exactly, to which its mitigation belongs, and offers
    something. That is told only of failures for which the taxonomy has more than a report. Where the command
    succeeded, any offer is wrong. Both have loaded what they know before the time is taken; thefuck may start no
    program, as some of its rules would, and finds the programs of this machine.
    """
    try:
        theirs = corrections.ask([(case["command"], case["output"]) for case in cases])
    except RuntimeError as error:
        print(f"thefuck is not measured, it does not install or run here: {error}", file=sys.stderr)
        return
    count: Counter[str] = Counter()
    taken = []
    for case, their in zip(cases, theirs, strict=True):
        start = time.perf_counter()
        found = core.diagnose(failure(case, fail_negatives=False)).diagnoses
        taken.append(1e3 * (time.perf_counter() - start))
        is_offer = any(one.mitigation.actions or one.mitigation.suggestions for one in found)
        kind = "succeeded" if case["kind"] == "negative" else "failed"
        count.update({kind: 1, f"{kind}, ours": is_offer, f"{kind}, theirs": their.offer is not None})
        action = taxonomy.get(case["label"], {"mitigation": {"action": "report"}})["mitigation"]["action"]
        if kind == "failed" and action != "report":
            is_right = their.offer is not None and corrections.is_right_kind(case["command"], their.offer, action)
            is_ours = is_offer and found[0].pattern_id == case["label"]
            count.update({"told": 1, "right, ours": is_ours, "right, theirs": is_right})

    def row(what: str, name: str, of: str) -> Row:
        beside = f"thefuck {100 * count[f'{name}, theirs'] / count[of]:.1f} %"
        return what, 100 * count[f"{name}, ours"] / count[of], f"% of {count[of]}", beside

    yield row("offers something for a failure", "failed", "failed")
    yield row("offers the right kind of fix, where there is one", "right", "told")
    yield row("offers something where the command succeeded", "succeeded", "succeeded")
    late = sum(one.late for one in theirs)
    given_up = f", {late} given up after {corrections.CASE_SECONDS:g} s" if late else ""
    mean = statistics.fmean(one.ms for one in theirs)
    yield "time of such a case, mean", statistics.fmean(taken), "ms", f"thefuck {mean:.1f}{given_up}"


def _speed_rows(core: Diagnostician) -> Iterator[Row]:
    log = plain_log(10 * MIB)
    for size, name, target in ((64 * KIB, "64 KiB", "target 1"), (MIB, "1 MiB", "target 25")):
        one = Failure(Command.of("npm", "test"), Ending(exit_code=1), log[-size:])
        yield f"diagnosis of {name}", 1e3 * _median(lambda one=one: core.diagnose(one)), "ms", target
    seconds = _median(lambda: core.matcher.scan(log), repeats=5)
    yield "set scan of 10 MiB", len(log) / seconds / 1e6, "MB/s", f"target 150; {len(core.patterns)} patterns"
    end = log[log.rindex(b"\n") :]
    windows = range(0, 3 * MIB, 10 * KIB)
    taken = asyncio.run(_calls([log[start : start + 64 * KIB - len(end)] + end for start in windows]))
    yield "Diagnose of 64 KiB over gRPC, median", 1e3 * statistics.median(taken), "ms", f"of {len(taken)} outputs"
    yield "Diagnose of 64 KiB over gRPC, p99", 1e3 * statistics.quantiles(taken, n=100)[98], "ms", "target 5"
    start = time.perf_counter()
    built_in(read_patterns(is_proven=True)[0])
    yield "loading the patterns", 1e3 * (time.perf_counter() - start), "ms", "once per process"


async def _calls(outputs: Sequence[bytes]) -> list[float]:
    """Seconds of each call for one output, one after the other; the server is another process, and has its patterns."""
    taken = []
    command = common_pb2.Command(argv=common_pb2.Argv(words=["npm", "test"]))
    with tempfile.TemporaryDirectory(prefix="ap-") as directory, serving(directory, "autopack_hardening") as address:
        async with connect(address) as client:
            gc.freeze()  # what holds up this process is not what holds up the server's callers
            for output in (outputs[0], *outputs):
                request = hardening_pb2.DiagnoseRequest(command=command, exit_code=1, output=output)
                start = time.perf_counter()
                await client.hardening.Diagnose(request)
                taken.append(time.perf_counter() - start)
    return taken[1:]


def plain_log(size: int) -> bytes:
    """Ordinary output of several tools, with a failure at its end; the same on every run."""
    parts = []
    length, number = 0, 0
    while length < size:
        number += 1
        line = _LINES[number * 7919 % len(_LINES)].format(n=number, m=number * 31 % 997)
        parts.append(line)
        length += len(line) + 1
    parts.append("E   ModuleNotFoundError: No module named 'yaml'")
    return "\n".join(parts).encode()[-size:]


_LINES = (
    "tests/unit/test_{m}.py::test_case_{n} PASSED                         [{m}%]",
    "2026-01-02T03:04:05.{n:07d}Z [INFO] Downloaded: https://repo.example/org/acme/{m}/acme-{n}.jar (12 kB)",
    "   Compiling acme-core-{m} v1.{n}.0 (/work/app/crates/core-{m})",
    "npm http fetch GET 200 https://npm.example/@acme%2fpackage-{m} {n}ms (cache hit)",
    "[{m}/1024] Building CXX object src/CMakeFiles/acme.dir/part_{n}.cpp.o",
    "  at processTicksAndRejections (node:internal/process/task_queues:{m}:{n})",
    "DEBUG acme.worker.{m}: handled request {n} in 0.{m} s with status 200 and 3 rows",
    "ok  \tacme.example/pkg/{m}\t0.{n}s\tcoverage: {m}.0% of statements",
    "src/components/Button{m}.tsx  {n} ms (unchanged)",
    "    inflating: vendor/lib-{m}/include/header_{n}.h",
)


def _median(call: Any, repeats: int = 15) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _taxonomy() -> dict[str, Case]:
    return {entry["id"]: entry for entry in json.loads((CORPUS / "taxonomy.json").read_text("utf-8"))}


def main() -> int:
    """Predict, and print what was asked for."""
    parser = argparse.ArgumentParser(prog="python bench/hardening.py", description="Name the failures of a corpus.")
    parser.add_argument(
        "--cases", type=Path, default=CORPUS / "cases.jsonl", help="labelled outputs; default: the corpus"
    )
    parser.add_argument("--out", type=Path, help="write the predictions here, one JSON object a line")
    parser.add_argument("--fail-negatives", action="store_true", help="present every negative as if it had exited 1")
    parser.add_argument(
        "--misses",
        metavar="FAMILY",
        help="show what this family, or this id, gets wrong; none: what is diagnosed and should not be",
    )
    parser.add_argument("--table", action="store_true", help="the score of every family")
    options = parser.parse_args()
    if not options.cases.is_file():
        print(f"no labelled outputs at {options.cases}: skipped; set AUTOPACK_CORPORA or --cases", file=sys.stderr)
        return 0 if options.out is None else 1
    core = loaded()
    predictions = [predict(core, case, fail_negatives=options.fail_negatives) for case in read_cases(options.cases)]
    if options.out is not None:
        options.out.write_text("".join(_line(one) for one in predictions), "utf-8")
        return 0
    taxonomy, known = _taxonomy(), {pattern.id for pattern in core.patterns}
    if options.misses:
        print_misses(predictions, taxonomy, options.misses, known)
    if options.table:
        print_table(predictions, taxonomy, known)
    print(", ".join(f"{name} {number}" for name, number in score(predictions, taxonomy).items()))
    for one in predictions:
        entry = taxonomy.get(one.case["label"], {"auto_fix_safe": False, "conditional": False})
        if one.automatic and not entry["auto_fix_safe"] and not entry["conditional"]:
            print(f"UNSAFE: {one.case['id']} ({one.case['label']}) is acted upon: {', '.join(one.ids)}")
    return 0


def _line(one: Prediction) -> str:
    data = {"id": one.case["id"], "pattern_id": one.best, "all": list(one.ids), "automatic": one.automatic}
    return json.dumps(data) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
