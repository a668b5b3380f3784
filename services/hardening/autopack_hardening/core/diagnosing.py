"""From a failure to its explanations: normalise, scan, resolve what each hit pattern would do, rank."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from autopack_hardening.core.actions import Action
from autopack_hardening.core.matching import Hit, Matcher
from autopack_hardening.core.model import (
    Approval,
    Diagnosis,
    DiagnosisResult,
    Failure,
    Mitigation,
    Outcome,
    Suggestion,
)
from autopack_hardening.core.names import Names
from autopack_hardening.core.noise import Noise
from autopack_hardening.core.normalise import Text, read
from autopack_hardening.core.patterns import Pattern
from autopack_hardening.core.ranking import Candidate, is_ambiguous, ranked, told_exit_codes
from autopack_hardening.core.rules import RESOLVERS
from autopack_hardening.core.rules.context import Context, Finding, printable, telling
from autopack_hardening.core.safety import CONSENT_ONLY, refusal
from autopack_hardening.core.workspace import Workspace

__all__ = ["Diagnostician"]

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_CONSENT = "what it does is for a person or a policy to decide"
_AMBIGUITY = "the same line can be read in another way: {other}"


class Diagnostician:
    """The patterns, ready to diagnose. Immutable and safe to share between threads."""

    def __init__(
        self,
        patterns: Iterable[Pattern],
        names: Names,
        noise: Noise = Noise(),  # noqa: B008 - frozen
        *,
        base: Diagnostician | None = None,
    ) -> None:
        """Compiles ``patterns``; ``prove`` in ``proving.py`` checks them on their samples.

        Args:
            patterns: what it knows.
            names: which distribution has which module.
            noise: what is no failure although it reads like one.
            base: what it knows besides, compiled already.
        """
        own = list(patterns)
        known = [*base.patterns, *own] if base is not None else own
        self.patterns: tuple[Pattern, ...] = tuple(sorted(known, key=lambda pattern: (pattern.priority, pattern.id)))
        self.matcher: Matcher = Matcher(own, noise, base=base.matcher if base is not None else None)
        self._names = names
        self._noise: Noise = base._noise if base is not None else noise

    def with_custom(self, patterns: Sequence[Pattern]) -> Diagnostician:
        """This one with more patterns; itself without any."""
        return Diagnostician(patterns, self._names, base=self) if patterns else self

    def only(self, patterns: Sequence[Pattern]) -> Diagnostician:
        """``patterns`` alone, with the same names and noise."""
        return Diagnostician(patterns, self._names, self._noise)

    def diagnose(self, failure: Failure) -> DiagnosisResult:
        """Explains ``failure``: the diagnoses, best first."""
        if failure.ending.succeeded:
            return DiagnosisResult(Outcome.SUCCEEDED)
        text = read(failure.output, failure.head, failure.first_line)
        context = Context(failure, Workspace(failure.paths), self._names)
        candidates = []
        for pattern, hits in self.matcher.hits(failure, text):
            finding = _finding(pattern, hits, context)
            if finding is not None:
                candidates.append(Candidate(pattern, hits, finding))
        if not candidates:
            return DiagnosisResult(Outcome.NO_MATCH if text.bytes.strip() else Outcome.NO_OUTPUT)
        is_telling = len(candidates) > 1 and any(one.pattern.usual_exit_codes for one in candidates)
        found = ranked(candidates, told_exit_codes(failure.ending, text.bytes) if is_telling else ())
        ambiguous = is_ambiguous(found)
        diagnoses = [_diagnosis(one, text) for one in found]
        if ambiguous:
            diagnoses[:2] = _held_back(*diagnoses[:2])
        return DiagnosisResult(Outcome.AMBIGUOUS if ambiguous else Outcome.MATCHED, tuple(diagnoses))


def _finding(pattern: Pattern, hits: Sequence[Hit], context: Context) -> Finding | None:
    """The findings of all steps as one; None if one of them contradicts the pattern."""
    if not pattern.steps:
        return Finding(telling(hits))
    findings = []
    for step in pattern.steps:
        finding = RESOLVERS[step.action].resolve(step.parameters, hits, context)
        if finding is None:
            return None
        findings.append(finding)
    first = findings[0]
    parts = [one.mitigation for one in findings]
    # All or none: half a mitigation is none.
    actions = tuple(action for one in parts for action in one.actions) if all(one.actions for one in parts) else ()
    actions = actions if _allowed(actions, context.failure) else ()
    is_automatic = (
        bool(actions)
        and all(one.automatic for one in parts)
        and pattern.approval is Approval.AUTOMATIC
        and not pattern.is_custom
        and not any(step.action in CONSENT_ONLY for step in pattern.steps)
    )
    reason = next((one.consent_reason for one in parts if one.consent_reason), _CONSENT)
    mitigation = Mitigation(
        actions=actions,
        suggestions=tuple(one for part in parts for one in part.suggestions),
        risk=max((one.risk for one in parts), key=lambda risk: risk.degree),
        automatic=is_automatic,
        consent_reason="" if is_automatic or not actions else reason,
    )
    return replace(first, mitigation=mitigation)


def _allowed(actions: Sequence[Action], failure: Failure) -> bool:
    return not any(refusal(action, failure.command) for action in actions)


def _diagnosis(candidate: Candidate, text: Text) -> Diagnosis:
    pattern, finding = candidate.pattern, candidate.finding
    hit = finding.hit
    captures = {**hit.captures, **finding.captures}
    mitigation = finding.mitigation
    advice = (*mitigation.suggestions, *_filled_in(pattern.suggestions, captures))
    if not advice:
        advice = (*_filled_in(pattern.otherwise, captures)[:1],)
    return Diagnosis(
        pattern_id=pattern.id,
        title=pattern.title,
        priority=pattern.priority,
        confidence=candidate.confidence,
        excerpt=hit.excerpt,
        line=text.line_number(hit.told) if hit.told >= 0 else 0,
        captures=MappingProxyType(captures),
        mitigation=replace(mitigation, suggestions=advice, verify=pattern.verify),
        aliases=pattern.aliases,
    )


def _filled_in(suggestions: Sequence[Suggestion], captures: Mapping[str, str]) -> list[Suggestion]:
    """A pattern's suggestions with the captures put in; one whose captures took no part is left out."""
    found = []
    for one in suggestions:
        used = _PLACEHOLDER.findall(one.text + one.risk)
        if all(captures.get(name) for name in used):
            found.append(Suggestion(_filled(one.text, captures), _filled(one.risk, captures)))
    return found


def _filled(text: str, captures: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: printable(captures[match.group(1)]), text)


def _held_back(first: Diagnosis, second: Diagnosis) -> list[Diagnosis]:
    """Two readings of one line, neither of them automatic."""
    return [
        replace(
            one,
            mitigation=replace(
                one.mitigation,
                automatic=False,
                consent_reason=_AMBIGUITY.format(other=other.title) if one.mitigation.actions else "",
            ),
        )
        for one, other in ((first, second), (second, first))
    ]
