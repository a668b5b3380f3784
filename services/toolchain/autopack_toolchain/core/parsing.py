"""Bounded parsers of manifests. Each raises :class:`ManifestError` with a line where it is known, and nothing else."""

from __future__ import annotations

import ast
import configparser
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import pyjson5
import yaml
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

__all__ = [
    "ManifestError",
    "RequirementLine",
    "check_yaml_nesting",
    "may_be_deep",
    "parse_ini",
    "parse_json",
    "parse_json5",
    "parse_python",
    "parse_requirement",
    "parse_requirements",
    "parse_toml",
    "parse_xml",
    "parse_yaml",
]

MAX_YAML_ALIASES = 64
"""Aliases at most in one YAML file. The configuration files read here have none or a handful; bombs have thousands."""

MAX_NESTING = 100
"""Levels of nesting in YAML and parts of a dotted key in TOML: both parsers need quadratic time for them."""

MAX_YAML_INDICATORS = 10_000
"""What opens a level in YAML: with fewer of them nesting is not checked. A workflow of 35 KiB has 1,500."""

_YAML_INDICATORS = ("- ", "-\t", "? ", "?\t", ": ", ":\t", "[", "{")
_YAML_ALIAS = re.compile(r"(?:^|[\s\[\]{},:?-])\*")

MAX_INI_LINES = 10_000
"""Lines at most of an INI file: the parser needs quadratic time for lines that it does not understand."""

MAX_PYTHON_BYTES = 64 << 10
"""Characters at most of a Python file that is parsed: the parser needs more than quadratic time for an f-string of many
parts, 0.6 s for one of 64 KiB. No setup.py or noxfile.py of the surveyed repositories has 20 KiB."""

MAX_REQUIREMENT_LINES = 20_000
"""Lines at most that are read of a requirements file; the longest hashed lock of a known project has about 9,000."""


class ManifestError(Exception):
    """A manifest that cannot be read.

    Args:
        message: what is wrong with it.
        line: where, from 1; 0 = not known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


_TOML_POSITION = re.compile(r"\(at line (\d+), column \d+\)$")


def parse_toml(text: str) -> dict[str, Any]:
    """TOML 1.0."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MAX_NESTING and _longest_dotted_key(line) > MAX_NESTING:
            raise ManifestError(f"invalid TOML: a key of more than {MAX_NESTING} parts", number)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _TOML_POSITION.search(str(error))
        raise ManifestError(f"invalid TOML: {error}", int(match[1]) if match else 0) from None
    except RecursionError:
        raise ManifestError("invalid TOML: nested too deeply") from None
    except ValueError as error:  # an integer of more than 4,300 digits
        raise ManifestError(f"invalid TOML: {error}") from None


def _longest_dotted_key(line: str) -> int:
    """Parts of the longest run of key-like words between dots."""
    longest = run = 0
    for part in line.split("."):
        run = run + 1 if part.strip(" \t\"'[{=").replace("-", "_").isidentifier() else 0
        longest = max(longest, run)
    return longest


def parse_json(text: str) -> Any:
    """JSON; a byte order mark is ignored, as npm does."""
    try:
        return _sendable(text, json.loads(text.removeprefix("\ufeff")))
    except json.JSONDecodeError as error:
        raise ManifestError(f"invalid JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise ManifestError("invalid JSON: nested too deeply") from None
    except ValueError as error:  # an integer of more than 4,300 digits, half of a surrogate pair
        raise ManifestError(f"invalid JSON: {error}") from None


def _sendable(text: str, data: Any) -> Any:
    """``data``, unless an escape made half of a surrogate pair: no such text can be sent in an answer."""
    if "\\ud" in text.lower():
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a \\u escape that is half of a surrogate pair") from None
    return data


def parse_json5(text: str) -> Any:
    """JSON with comments and trailing commas, as deno.jsonc, rush.json and nx.json are written; at most 32 levels."""
    try:
        return _sendable(text, pyjson5.decode(text.removeprefix("\ufeff")))
    except pyjson5.Json5Exception as error:
        raise ManifestError(f"invalid JSON5: {error.args[0]}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise ManifestError(f"invalid JSON5: {error}") from None


class _Loader(yaml.CSafeLoader):
    """The safe C loader without merge keys: expanding ``<<`` of aliases is exponential, and no file here needs it."""

    def flatten_mapping(self, node: Any) -> None:
        """Leaves ``<<`` as an ordinary key."""


def parse_yaml(text: str) -> Any:
    """The first YAML document, with at most :data:`MAX_YAML_ALIASES` aliases."""
    try:
        # Reading the events first takes as long as composing, and no file of a known project needs it.
        aliases = check_yaml_nesting(text) if _YAML_ALIAS.search(text) or may_be_deep(text) else 0
        if aliases > MAX_YAML_ALIASES:
            raise ManifestError(f"invalid YAML: {aliases} aliases, at most {MAX_YAML_ALIASES} are read")
        return next(iter(yaml.load_all(text, Loader=_Loader)), None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ManifestError(f"invalid YAML: {error.problem or error.context}", mark.line + 1 if mark else 0) from None
    except yaml.YAMLError as error:
        raise ManifestError(f"invalid YAML: {error}") from None
    except RecursionError:
        raise ManifestError("invalid YAML: nested too deeply") from None
    except ValueError as error:  # for example a date in month 13
        raise ManifestError(f"invalid YAML: {error}") from None


def may_be_deep(text: str) -> bool:
    """Whether YAML has enough of what opens a level to be nested so deep that the composer ends the process."""
    return sum(text.count(indicator) for indicator in _YAML_INDICATORS) > MAX_YAML_INDICATORS


def check_yaml_nesting(text: str) -> int:
    """The number of aliases in the documents.

    Raises:
        ManifestError: they are nested more than :data:`MAX_NESTING` levels deep. Reading the events of a parser is not
            recursive; the composer of libyaml is, in C, and ends the process at some 50,000 levels.
        yaml.YAMLError: it is no YAML.
    """
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_NESTING:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise ManifestError(f"invalid YAML: nested more than {MAX_NESTING} levels deep", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
    return aliases


def parse_xml(text: str) -> Element:
    """XML without document type definitions, hence without entities."""
    try:
        root: Element = fromstring(text.encode(), forbid_dtd=True)
        return root
    except ParseError as error:
        raise ManifestError(f"invalid XML: {error}", error.position[0]) from None
    except DefusedXmlException:
        raise ManifestError("XML with a document type definition or entities is not read") from None
    except (ValueError, LookupError) as error:  # an encoding that does not exist
        raise ManifestError(f"invalid XML: {error}") from None


def parse_ini(text: str) -> dict[str, dict[str, str]]:
    """INI as setup.cfg, tox.ini and pytest.ini are written: sections of options, no interpolation."""
    if text.count("\n") >= MAX_INI_LINES:
        raise ManifestError(f"INI of more than {MAX_INI_LINES:,} lines is not read")
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, empty_lines_in_values=True)
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        raise ManifestError("invalid INI: an option before the first [section]", error.lineno) from None
    except configparser.ParsingError as error:
        line = error.errors[0][0] if error.errors else 0
        raise ManifestError("invalid INI: not an option, a section or a comment", int(line)) from None
    except configparser.Error as error:
        raise ManifestError(f"invalid INI: {error}") from None
    except AttributeError:  # the parser appends an indented line to an option that has no value
        raise ManifestError("invalid INI: a continuation of an option without a value") from None
    return {section: {key: value or "" for key, value in parser.items(section)} for section in parser.sections()}


def parse_python(text: str) -> ast.Module:
    """A Python module, not executed."""
    if len(text) > MAX_PYTHON_BYTES:
        raise ManifestError(f"Python of more than {MAX_PYTHON_BYTES:,} characters is not parsed")
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise ManifestError(f"invalid Python: {error.msg}", error.lineno or 0) from None
    except (RecursionError, MemoryError):
        raise ManifestError("invalid Python: nested too deeply") from None
    except ValueError as error:  # a null byte
        raise ManifestError(f"invalid Python: {error}") from None


@dataclass(frozen=True, slots=True)
class RequirementLine:
    """One line of a requirements file.

    Attributes:
        line: from 1.
        name: normalised distribution name (PEP 503); empty for an option or a path.
        option: ``-r``, ``-c`` or ``-e``; empty for a plain requirement.
        argument: what follows the option.
        hashed: whether the line carries ``--hash``, which forbids unhashed and editable requirements in the same call.
    """

    line: int
    name: str = ""
    option: str = ""
    argument: str = ""
    hashed: bool = False


_OPTIONS = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c", "-e": "-e", "--editable": "-e"}


MAX_COMMON = 200
"""Characters of a requirement that the short way is tried on."""

_COMMON_REQUIREMENT = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[A-Za-z0-9_., -]*\])?[ ]*"
    r"(?:(?:~=|==|!=|<=|>=|<|>)[ ]*[0-9][A-Za-z0-9.*+!]*[ ]*(?:,[ ]*(?!$)|$))*"
)
"""A name with plain versions: nine of ten requirements, for which the grammar of all of them takes too long."""


def parse_requirement(text: str) -> str:
    """The normalised name of a PEP 508 requirement; empty if it is none."""
    if len(text) <= MAX_COMMON and (match := _COMMON_REQUIREMENT.fullmatch(text)):
        return canonicalize_name(match[1])
    try:
        return canonicalize_name(Requirement(text).name)
    except (InvalidRequirement, RecursionError):
        return ""


def parse_requirements(text: str) -> list[RequirementLine]:
    """A pip requirements file. Lines that pip would refuse give no entry: pip says it better when it runs."""
    found = []
    for number, line in _logical_lines(text):
        word, _, rest = line.partition(" ")
        option, equals, value = word.partition("=")
        if option in _OPTIONS:
            found.append(RequirementLine(number, option=_OPTIONS[option], argument=value if equals else rest.strip()))
        elif word[:2] in _OPTIONS and not word.startswith("--"):
            found.append(RequirementLine(number, option=word[:2], argument=word[2:]))
        elif not line.startswith("-"):
            requirement, _, options = line.partition(" --")
            name = parse_requirement(requirement.strip())
            if name:
                found.append(RequirementLine(number, name=name, hashed=options.startswith("hash")))
            else:
                found.append(RequirementLine(number, option="url", argument=requirement.strip()))
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with continuations joined and comments removed, as pip reads them, with their first line's number."""
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines()[:MAX_REQUIREMENT_LINES], 1):
        start = start or number
        line = raw.split(" #", 1)[0].rstrip() if not raw.lstrip().startswith("#") else ""
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        if whole := (pending + line).strip():
            yield start, whole
        pending, start = "", 0
    if pending.strip():
        yield start, pending.strip()
