"""From a failure to its explanations: normalise, scan, let each rule read its hits, rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from autopack_hardening.core.matching import Hit, Matcher
from autopack_hardening.core.model import Diagnosis, DiagnosisResult, Failure, Outcome
from autopack_hardening.core.names import Names
from autopack_hardening.core.normalise import normalise
from autopack_hardening.core.patterns import Pattern, PatternError
from autopack_hardening.core.rules import RULES
from autopack_hardening.core.rules.context import Context, Finding
from autopack_hardening.core.workspace import Workspace

__all__ = ["Diagnostician"]


class Diagnostician:
    """The patterns, ready to diagnose. Immutable and safe to share between threads."""

    def __init__(self, patterns: Sequence[Pattern], names: Names) -> None:
        """Compiles ``patterns`` and proves each on its own samples.

        Raises:
            PatternError: an example is not matched, a near miss is, or two patterns share an id.
        """
        self.patterns = tuple(sorted(patterns, key=lambda pattern: (pattern.priority, pattern.id)))
        self._names = names
        self._matcher = Matcher(self.patterns)
        self._check()

    def diagnose(self, failure: Failure) -> DiagnosisResult:
        """Explains ``failure``: the diagnoses by priority, then by confidence, then by the later line."""
        if failure.ending.succeeded:
            return DiagnosisResult(Outcome.SUCCEEDED)
        text = normalise(failure.output)
        if not text.strip():
            return DiagnosisResult(Outcome.NO_OUTPUT)
        context = Context(failure, Workspace(failure.paths), self._names)
        found = []
        for pattern, hits in self._matcher.hits(failure, text):
            finding = RULES[pattern.rule](hits, context)
            if finding is not None:
                found.append(_diagnosis(pattern, hits, finding))
        found.sort(key=lambda one: (one.priority, -one.confidence, -one.line))
        return DiagnosisResult(Outcome.MATCHED if found else Outcome.NO_MATCH, tuple(found))

    def _check(self) -> None:
        seen: set[str] = set()
        for pattern in self.patterns:
            if pattern.id in seen:
                raise PatternError(pattern.source, pattern.id, "another pattern has the same id")
            seen.add(pattern.id)
            for number, sample in enumerate(pattern.examples, 1):
                if pattern.id not in self._matched(sample.failure()):
                    raise PatternError(pattern.source, pattern.id, f"example {number} is not matched")
            for number, sample in enumerate(pattern.near_misses, 1):
                if pattern.id in self._matched(sample.failure()):
                    raise PatternError(pattern.source, pattern.id, f"near miss {number} is matched")

    def _matched(self, failure: Failure) -> set[str]:
        return {diagnosis.pattern_id for diagnosis in self.diagnose(failure).diagnoses}


def _diagnosis(pattern: Pattern, hits: Sequence[Hit], finding: Finding) -> Diagnosis:
    hit = finding.hit
    return Diagnosis(
        pattern_id=pattern.id,
        title=pattern.title,
        priority=pattern.priority,
        confidence=round(hit.expression.confidence * finding.certainty, 3),
        excerpt=hit.excerpt,
        line=hit.line,
        captures=MappingProxyType({**hit.captures, **finding.captures}),
        mitigation=replace(finding.mitigation, verify=pattern.verify),
    )
