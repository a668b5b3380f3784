from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_kit.kit_settings import KitSettings
from autopack_kit.settings import RESERVED, check_unknown, describe, load, names, parse_bool, parse_duration, setting


class Color(Enum):
    RED = "red"
    DARK_RED = "dark-red"


@dataclass(frozen=True, slots=True)
class Example:
    PREFIX: ClassVar[str] = "AUTOPACK_EXAMPLE"

    text: str = setting("a", help="Text.")
    count: int = setting(1, help="Count.")
    ratio: float = setting(0.5, help="Ratio.")
    flag: bool = setting(False, help="Flag.")
    path: Path | None = setting(None, help="Path.")
    wait: timedelta = setting(timedelta(minutes=2), help="Wait.")
    words: tuple[str, ...] = setting((), help="Words.")
    allowed_roots: tuple[Path, ...] = setting((), help="Roots.")
    color: Color = setting(Color.RED, help="Color.")
    home: str = setting(derive=lambda environ: environ.get("HOME", "none") + "!", help="Home.")


def test_load_without_variables_gives_the_defaults() -> None:
    loaded = load(Example, {"HOME": "/h"})
    assert (loaded.text, loaded.path, loaded.wait, loaded.home) == ("a", None, timedelta(minutes=2), "/h!")


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("text", "x,y", "x,y"),
        ("count", " 7 ", 7),
        ("ratio", "1e-3", 0.001),
        ("flag", "ON", True),
        ("flag", "no", False),
        ("path", "/p", Path("/p")),
        ("path", "", None),
        ("wait", "30s", timedelta(seconds=30)),
        ("wait", "1.5h", timedelta(minutes=90)),
        ("words", "a, b,,c", ("a", "b", "c")),
        ("allowed_roots", os.pathsep.join(["/a,1", "/b"]), (Path("/a,1"), Path("/b"))),
        ("color", "dark-red", Color.DARK_RED),
        ("color", "DARK_RED", Color.DARK_RED),
    ],
)
def test_load_of_a_variable_parses_its_type(field: str, raw: str, value: object) -> None:
    assert getattr(load(Example, {f"AUTOPACK_EXAMPLE_{field.upper()}": raw}), field) == value


@pytest.mark.parametrize(
    ("field", "raw", "hint"),
    [
        ("count", "7.5", "whole number"),
        ("ratio", "nan", "finite"),
        ("ratio", "x", "finite"),
        ("flag", "maybe", "true, 1, yes, on"),
        ("wait", "30", "unit"),
        ("wait", "-1s", "unit"),
        ("color", "blue", "red, dark-red"),
        ("path", "/a\0b", "path"),
    ],
)
def test_load_of_a_bad_value_names_variable_value_and_remedy(field: str, raw: str, hint: str) -> None:
    variable = f"AUTOPACK_EXAMPLE_{field.upper()}"
    with pytest.raises(InvalidArgument) as caught:
        load(Example, {variable: raw})
    assert caught.value.reason == "SETTING_INVALID"
    assert variable in str(caught.value)
    assert repr(raw) in str(caught.value)
    assert hint in caught.value.remedy


def test_load_with_a_prefix_reads_that_one() -> None:
    assert load(Example, {"AUTOPACK_OTHER_COUNT": "3"}, prefix="AUTOPACK_OTHER").count == 3


def test_describe_gives_value_source_and_help_in_the_syntax_of_the_variable() -> None:
    environ = {"AUTOPACK_EXAMPLE_FLAG": "yes", "AUTOPACK_EXAMPLE_ALLOWED_ROOTS": "/a:/b"}
    described = {item.name.removeprefix("AUTOPACK_EXAMPLE_"): item for item in describe(Example, environ)}
    assert (described["FLAG"].value, described["FLAG"].source, described["FLAG"].help) == (
        "true",
        "environment",
        "Flag.",
    )
    assert described["ALLOWED_ROOTS"].value == "/a:/b"
    assert (described["WAIT"].value, described["WAIT"].source) == ("2m", "default")
    assert (described["PATH"].value, described["COLOR"].value) == ("", "red")


def test_describe_round_trips_every_value() -> None:
    first = describe(Example, {"HOME": "/h"})
    again = describe(Example, {"HOME": "/h"} | {item.name: item.value for item in first})
    assert [(item.name, item.value) for item in again] == [(item.name, item.value) for item in first]


def test_check_unknown_names_the_nearest_known_setting() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_unknown({"AUTOPACK_EXAMPLE_COUNTS": "1", "AUTOPACK_EXAMPLE_COUNT": "1"}, names(Example))
    assert caught.value.reason == "SETTING_UNKNOWN"
    assert "AUTOPACK_EXAMPLE_COUNTS is not a setting; did you mean AUTOPACK_EXAMPLE_COUNT?" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *sorted(RESERVED),
        "AUTOPACK_TEST_POSTGRES_URL",
        "AUTOPACK_TOOLCHAIN_SERVICE_HOST",
        "AUTOPACK_TOOLCHAIN_SERVICE_PORT",
        "AUTOPACK_TOOLCHAIN_SERVICE_PORT_GRPC",
        "AUTOPACK_TOOLCHAIN_PORT",
        "AUTOPACK_TOOLCHAIN_PORT_50051_TCP_ADDR",
        "PATH",
    ],
)
def test_check_unknown_accepts_reserved_names_and_service_links(name: str) -> None:
    check_unknown({name: "x"}, names(Example))


def test_settings_class_with_a_name_like_a_service_link_is_a_mistake_of_its_author() -> None:
    @dataclass(frozen=True)
    class Bad:
        PREFIX: ClassVar[str] = "AUTOPACK"
        http_port: int = setting(1, help="Port.")

    with pytest.raises(TypeError, match="AUTOPACK_HTTP_PORT"):
        names(Bad)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("Yes", True), ("off", False), ("0", False)])
def test_parse_bool_of_a_known_word_gives_its_value(text: str, value: bool) -> None:
    assert parse_bool(text) is value


@pytest.mark.parametrize("text", ["", "2", "y", "truee"])
def test_parse_bool_of_another_word_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="use one of"):
        parse_bool(text)


def test_parse_duration_knows_each_unit() -> None:
    parsed = [parse_duration(text).total_seconds() for text in ("250ms", "2s", "3m", "4h", "5d")]
    assert parsed == [0.25, 2, 180, 14400, 432000]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_DATA_HOME": "/x"}, "/x/autopack"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/h"}, "/h/.local/share/autopack"),
        ({"HOME": "/h"}, "/h/.local/share/autopack"),
        ({"XDG_DATA_HOME": "/x", "AUTOPACK_DATA_DIR": "/d"}, "/d"),
    ],
)
def test_kit_settings_find_the_data_directory(environ: dict[str, str], expected: str) -> None:
    loaded: Any = load(KitSettings, environ)
    assert loaded.data_dir == Path(expected)
    assert loaded.tokens_path == Path(expected) / "tokens.toml"
