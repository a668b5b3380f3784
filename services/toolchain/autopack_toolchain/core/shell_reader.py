"""The walk over the tokens of shell text as a shell would run them; :mod:`.shell` is what others use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from .shell_state import PLACEHOLDER, UNKNOWN, Simple, State
from .shell_words import Token, resolve_word, tokens_of

__all__ = ["LimitReached", "Reader"]

MAX_COMMANDS = 1000
"""Simple commands at most from one text: more is a generated script."""

MAX_STEPS = 20_000
"""Constructs and words at most that are followed: loops are unrolled and functions are entered at each call."""

MAX_DEPTH = 40
"""Nested constructs and calls at most: people write five."""

MAX_ROUNDS = 16
"""Rounds at most in which a loop over a written list is unrolled: enough for the packages of a repository."""

MAX_TEXT = 500
"""Characters at most of :attr:`Simple.text`: it is shown to people."""

_ENDS = frozenset({"then", "do", "done", "fi", "else", "elif", "esac", "}", ")", ";;", ";&", ";;&"})
_SEPARATORS = frozenset({"\n", ";", "&"})
_REDIRECTIONS = frozenset({"<<<", "<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">", "&>>", "&>"})
_INPUTS = frozenset({"<<<", "<<-", "<<", "<>", "<"})
_PROBES = frozenset({"[", "test", "command", "which", "type", "hash", "grep"})
"""Commands whose failure is an answer: what follows their ``&&`` runs under a condition."""
_DECLARATIONS = frozenset({"export", "declare", "typeset", "local", "readonly"})
_POSITIONAL = ("@", "*", "1", "2", "3", "4", "5")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")


class LimitReached(Exception):
    """What was read until then stands."""


class Reader:
    """Walks over the tokens as the shell would run them, along every branch."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self.found: list[Simple] = []
        self._text = text
        self._tokens = [*tokens_of(text), Token("", None, len(text), len(text), 0)]
        self._at = 0
        self._state = State("", UNKNOWN, (), {"@": "", "*": "", **variables}, {})
        self._functions: dict[str, int] = {}
        self._running: set[str] = set()
        self._expected: list[frozenset[str]] = []
        self._guarded = False
        self._probe = False
        self._steps = self._depth = 0

    @property
    def cwd(self) -> str:
        """The directory after what was read."""
        return self._state.cwd

    # Lists, pipelines

    def list_until(self, ends: frozenset[str]) -> None:
        """Runs commands up to one of ``ends``, which is left to the caller, or to the end."""
        self._expected.append(ends)
        while not self._is_end():
            token = self._tokens[self._at]
            if token.value in _ENDS:
                if any(token.value in expected for expected in self._expected):
                    break
                self._next()  # an end of nothing
            elif token.value in _SEPARATORS and token.word is None:
                self._next()
            else:
                self._and_or()
        self._expected.pop()

    def _is_end(self) -> bool:
        return self._at >= len(self._tokens) - 1

    def _next(self) -> None:
        """The next token; the last, which is empty, stays."""
        self._at = min(self._at + 1, len(self._tokens) - 1)

    def _is(self, *values: str) -> bool:
        return self._tokens[self._at].value in values

    def _skip(self, *values: str) -> None:
        while not self._is_end() and self._is(*values):
            self._next()

    def _and_or(self) -> None:
        self._pipeline()
        before, guarded = self._state.copy(), self._guarded
        while not self._is_end() and self._is("&&", "||"):
            conditional = self._is("||") or self._probe
            self._next()
            self._skip("\n")
            if conditional and not self._guarded:
                before = self._state.copy()
                self._guarded = True
            self._pipeline()
        if self._guarded != guarded:
            self._guarded = guarded
            self._rejoin(before)

    def _pipeline(self) -> None:
        first, before = len(self.found), self._state.copy()
        self._command()
        if not self._is("|", "|&"):
            return
        while not self._is_end() and self._is("|", "|&"):
            self._next()
            self._skip("\n")
            self._state = before.copy()
            self._command()
        self._state = before
        self.found[first:] = [replace(command, piped=True) for command in self.found[first:]]

    @contextmanager
    def _condition(self) -> Iterator[None]:
        """What runs inside may not run: it is marked, and what it changes is not relied on afterwards."""
        before, guarded = self._state.copy(), self._guarded
        self._guarded = True
        yield
        self._guarded = guarded
        self._rejoin(before)

    def _rejoin(self, before: State) -> None:
        """The state after something that may have run: the old one, but for what only it has told."""
        if self._state.cwd != before.cwd:
            before.cwd = UNKNOWN
        if self._state.variables is not before.variables:
            before.variables = {**dict.fromkeys(self._state.variables), **before.variables}
        self._state = before

    # Commands

    def _command(self) -> None:
        self._steps += 1
        self._depth += 1
        if self._steps > MAX_STEPS or self._depth > MAX_DEPTH or len(self.found) >= MAX_COMMANDS:
            raise LimitReached
        self._probe = False
        token = self._tokens[self._at]
        reserved = _RESERVED.get(token.value)
        if reserved is not None:
            reserved(self)
            self._redirections()
        elif token.word is not None or token.value in _REDIRECTIONS:
            self._simple()
        elif token.value not in _SEPARATORS and token.value not in _ENDS:
            self._next()  # an operator where a command should be
        self._depth -= 1

    def _redirections(self) -> None:
        while not self._is_end() and self._tokens[self._at].value in _REDIRECTIONS:
            self._next()
            if self._tokens[self._at].word is not None:
                self._next()

    def _not(self) -> None:
        self._next()
        self._command()

    def _body(self, end: str) -> None:
        self.list_until(frozenset({end}))
        if self._is(end):
            self._next()

    def _group(self) -> None:
        self._next()
        self._body("}")

    def _subshell(self) -> None:
        following = self._tokens[self._at + 1]
        if following.value == "(" and following.start == self._tokens[self._at].end:
            self._arithmetic()
            return
        self._next()
        before = self._state.copy()
        self._body(")")
        self._state = before

    def _arithmetic(self) -> None:
        depth = 0
        while not self._is_end():
            depth += self._is("(") - self._is(")")
            self._next()
            if depth <= 0 or self._is("\n"):
                break
        self._probe = True

    def _double_bracket(self) -> None:
        before = ""
        while not self._is_end() and not self._is("]]") and (not self._is("\n") or before in ("&&", "||", "(", "[[")):
            before = self._tokens[self._at].value
            self._next()
        if self._is("]]"):
            self._next()
        self._probe = True

    def _if(self) -> None:
        self._next()
        self.list_until(frozenset({"then", "fi"}))
        with self._condition():
            while not self._is_end() and self._is("then", "elif", "else"):
                self._next()
                inside = self._state.copy()
                self.list_until(frozenset({"then", "elif", "else", "fi"}))
                self._rejoin(inside)
        if self._is("fi"):
            self._next()

    def _while(self) -> None:
        self._next()
        self.list_until(frozenset({"do", "done"}))
        with self._condition():
            self._loop_body()

    def _loop_body(self) -> None:
        self._skip("\n", ";")
        if self._is("do"):
            self._next()
            self._body("done")
        elif self._is("{"):
            self._group()

    def _for(self) -> None:
        self._next()
        if self._is("("):
            self._arithmetic()
            with self._condition():
                self._loop_body()
            return
        name = self._tokens[self._at].value
        self._next()
        self._skip("\n")
        values, exact = self._loop_values()
        body = self._at
        if exact and values and len(values) <= MAX_ROUNDS:
            for value in values:
                self._at = body
                self._state.set(name, value)
                self._loop_body()
            return
        with self._condition():
            self._state.set(name, None)
            self._loop_body()

    def _loop_values(self) -> tuple[list[str], bool]:
        values: list[str] = []
        all_exact = True
        if self._is("in"):
            self._next()
            while self._tokens[self._at].word is not None:
                made, exact = self._resolved(self._tokens[self._at])
                values += made
                all_exact = all_exact and exact
                self._next()
        return values, all_exact

    def _case(self) -> None:
        while not self._is_end() and not self._is("in", "\n"):
            self._next()
        self._next()
        with self._condition():
            while not self._is_end():
                self._skip("\n", ";;", ";&", ";;&", "(")
                if self._is("esac"):
                    break
                while not self._is_end() and not self._is(")", "esac"):
                    self._next()
                if not self._is(")"):
                    break
                self._next()
                inside = self._state.copy()
                self.list_until(frozenset({";;", ";&", ";;&", "esac"}))
                self._rejoin(inside)
        if self._is("esac"):
            self._next()

    def _function(self) -> None:
        self._next()
        name = self._tokens[self._at].value
        self._next()
        self._skip("(", ")")
        self._define(name)

    def _define(self, name: str) -> None:
        """Remembers where the body is, and walks over it without a record: it runs where it is called."""
        self._skip("\n")
        self._functions[name] = self._at
        kept, before = len(self.found), self._state.copy()
        functions, self._functions = self._functions, {}
        try:
            self._command()
        finally:
            self._functions = functions
            self._state = before
            del self.found[kept:]

    def _call(self, name: str, arguments: list[str], literal: bool) -> None:
        if name in self._running:  # recursion tells nothing new
            return
        self._running.add(name)
        back = self._at
        self._at = self._functions[name]
        kept = {key: self._state.variables.get(key) for key in _POSITIONAL}
        self._positional(arguments, literal)
        self._expected.append(frozenset())
        self._command()
        self._expected.pop()
        for key, value in kept.items():
            self._state.set(key, value)
        self._at = back
        self._running.discard(name)

    # Simple commands

    def _simple(self) -> None:
        first = self._tokens[self._at]
        if first.value and self._tokens[self._at + 1].value == "(" and self._tokens[self._at + 2].value == ")":
            self._at += 3
            self._define(first.value)
            return
        argv: list[str] = []
        assigned: list[tuple[re.Match[str], str, bool]] = []
        literal = True
        while not self._is_end():
            token = self._tokens[self._at]
            if token.value in _REDIRECTIONS and token.word is None:
                target = self._tokens[self._at + 1]
                literal = literal and (token.value not in _INPUTS or target.value == "/dev/null")
                self._next()
                if target.word is not None:
                    self._next()
            elif token.word is None:
                break
            else:
                self._next()
                words, exact = self._resolved(token)
                match = self._assignment(token) if not argv or argv[0] in _DECLARATIONS else None
                if not argv and _is_element(token):
                    continue
                if match:
                    assigned.append((match, " ".join(words)[match.end() :], exact))
                else:
                    argv += words
                    literal = literal and exact
        self._run(argv, assigned, literal, first)

    def _positional(self, arguments: list[str], literal: bool) -> None:
        whole = " ".join(arguments) if literal and all(len(word.split()) == 1 for word in arguments) else None
        for key in _POSITIONAL:
            at = int(key) - 1 if key.isdigit() else -1
            self._state.set(key, whole if at < 0 else arguments[at] if literal and at < len(arguments) else None)

    def _resolved(self, token: Token) -> tuple[list[str], bool]:
        self._steps += len(token.word or ())
        words, exact = resolve_word(token.word or (), self._state.variables)
        return words, exact and not any(PLACEHOLDER in word for word in words)

    def _assignment(self, token: Token) -> re.Match[str] | None:
        part = token.word[0] if token.word else None
        return _ASSIGNMENT.match(part.text) if part is not None and not part.quoted else None

    def _assign(self, match: re.Match[str], value: str, exact: bool, *, export: bool) -> None:
        self._state.set(match[1], value if exact and not match[2] else None, export=export)

    def _run(
        self, argv: list[str], assigned: list[tuple[re.Match[str], str, bool]], literal: bool, first: Token
    ) -> None:
        if not argv or argv[0] in _DECLARATIONS:
            for match, value, exact in assigned:
                self._assign(match, value, exact, export=argv[:1] in (["export"], ["declare"]))
            self._export(argv[1:] if argv[:1] == ["export"] else [])
        elif argv[0] in self._functions:
            self._call(argv[0], argv[1:], literal)
        elif argv[0] in ("cd", "pushd", "popd"):
            self._state.change_directory(argv, literal)
        elif argv[0] == "unset":
            self._state.unset(set(argv[1:]))
        else:
            self._probe = argv[0] in _PROBES
            last = self._tokens[self._at - 1]
            text = " ".join(self._text[first.start : last.end].replace("\\\n", " ").split())[:MAX_TEXT]
            prefixed = {match[1]: value for match, value, exact in assigned if exact}
            env = {**self._state.exported, **prefixed} if prefixed else self._state.exported
            literal = literal and all(exact for _, _, exact in assigned)
            self.found.append(
                Simple(tuple(argv), env, self._state.cwd, first.line, literal, self._guarded, False, text)
            )

    def _export(self, names: list[str]) -> None:
        for name in names:
            if isinstance(value := self._state.variables.get(name), str):
                self._state.set(name, value, export=True)


def _is_element(token: Token) -> bool:
    """Whether it assigns to an element of an array: nothing that is followed."""
    source = "".join(part.source for part in token.word or ())
    return bool(_ELEMENT.match(source)) and ("]=" in source or "]+=" in source)


_RESERVED = {
    "!": Reader._not,
    "time": Reader._not,
    "{": Reader._group,
    "(": Reader._subshell,
    "[[": Reader._double_bracket,
    "if": Reader._if,
    "while": Reader._while,
    "until": Reader._while,
    "for": Reader._for,
    "select": Reader._while,
    "case": Reader._case,
    "function": Reader._function,
}
