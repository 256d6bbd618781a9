"""JSON at the border: what is read, what is refused, and how it is written."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.wire import (
    MAX_DEPTH,
    MAX_TEXT_LENGTH,
    Fields,
    JsonObject,
    NotJsonError,
    canonical_json,
    json_size,
    json_type,
    parse_json,
    problem_inside,
    shorten,
    show,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


class RefusedError(Exception):
    """What the fields of these tests raise."""


def fields_of(**value: Any) -> Fields:
    return Fields(value, "the thing", RefusedError)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the thing is missing or null, expected a JSON object"),
        ([1], "the thing is of type array, expected a JSON object"),
        ("x", "the thing is 'x', expected a JSON object"),
        (True, "the thing is of type boolean, expected a JSON object"),
    ],
)
def test_only_an_object_has_fields(value: Any, message: str) -> None:
    with pytest.raises(RefusedError) as error:
        Fields(value, "the thing", RefusedError)

    assert str(error.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "APPROVED",
        '"APPROVED"',
        "true",
        "[]",
        '{"a": 1',
        "{'a': 1}",
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": NaN}',
        '{"a": "\\ud83d"}',
        '{"a":' + "[" * 100 + "]" * 100 + "}",
        "[" * 100_000,
    ],
)
def test_text_that_is_no_clear_object_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RefusedError, match=r"^the thing (is|has) ") as error:
        Fields.from_json(text, "the thing", RefusedError)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("1".encode("utf-16"), "is not JSON: it is UTF-16, expected UTF-8"),
        ('"a"'.encode("utf-16-le"), "is not JSON: it is UTF-16-LE, expected UTF-8"),
        ('"a"'.encode("utf-32"), "is not JSON: it is UTF-32, expected UTF-8"),
        (b"\xef\xbb\xbf1", "is not JSON: it is UTF-8 with a byte order mark, expected UTF-8"),
        ("\ufeff1", "is not JSON: Unexpected UTF-8 BOM"),
        (b'"\xe4"', "is not JSON: 'utf-8' codec can't decode byte 0xe4 in position 1"),
        (b'"\xed\xa0\xbd"', "is not JSON: 'utf-8' codec can't decode byte 0xed"),
        (b'"\\ud83d"', "has half of a surrogate pair, which is no character"),
        (b'[{"\\ude00": 1}]', "has half of a surrogate pair, which is no character"),
        (b"[NaN]", "has a number that does not fit into a double"),
        (b"-Infinity", "has a number that does not fit into a double"),
        (b"1e999", "has a number that does not fit into a double"),
        (b"9" * 5_000, "is not JSON: Exceeds the limit"),
        (b'{"a": 1, "a": 1}', "is not JSON: a key is given twice"),
        (b"[" * 101 + b"]" * 101, "is nested more than 100 levels deep"),
        (b"[" * 100_000, "is not JSON: maximum recursion depth exceeded"),
        (b'{"a":' * 100_000, "is not JSON: maximum recursion depth exceeded"),
    ],
)
def test_what_readers_of_json_do_not_agree_on_is_named(content: bytes | str, problem: str) -> None:
    with pytest.raises(NotJsonError) as error:
        parse_json(content)

    assert str(error.value).startswith(problem)


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_text_and_bytes_are_read_alike(value: Any) -> None:
    text = json.dumps(value)

    assert parse_json(text) == parse_json(text.encode()) == value
    assert parse_json(canonical_json(value)) == value


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_a_field_that_not_every_reader_takes_is_refused() -> None:
    """Lambda has parsed the event already, and lets these pass."""
    fields = fields_of(a=float("nan"), b={"c": "\ud83d"}, d="\ud83d", e="\ud83d", f=[1])

    assert (fields.value("a"), fields.value("b"), fields.value("f")) == (None, None, [1])
    assert (fields.text("d"), fields.optional_text("e")) == ("", None)
    with pytest.raises(RefusedError) as error:
        fields.done()
    assert str(error.value).split("; ") == [
        "a has a number that does not fit into a double",
        "b has half of a surrogate pair, which is no character",
        "d is '\\ud83d', expected a string of 1 to 1000 characters",
        "e is '\\ud83d', expected a string of up to 1000 characters",
    ]


def test_the_fields_that_were_read_are_kept_as_they_were_sent() -> None:
    text = '{"a": {"deep": [1]}, "b": "text", "c": null, "d": 1}'
    fields = Fields.from_json(text, "the thing", RefusedError)

    assert fields.value("a") == {"deep": [1]}
    assert fields.text("b") == "text"
    assert fields.optional_text("c") is None
    assert fields.value("missing") is None
    assert fields.optional_text("missing too") is None
    fields.done()
    assert fields.read == {"a": {"deep": [1]}, "b": "text", "c": None}


def test_every_problem_is_named_in_one_line_in_the_order_of_reading() -> None:
    fields = fields_of(id="a b", by=7, note="x" * (MAX_TEXT_LENGTH + 1))
    fields.text("id", re.compile("[a-z]+"), "letters")
    fields.text("name")
    fields.optional_text("by")
    fields.optional_text("note")
    fields.refuse("nothing here is right")

    with pytest.raises(RefusedError) as error:
        fields.done()

    assert str(error.value).split("; ") == [
        "id is 'a b', expected letters",
        "name is missing or null, expected a string of 1 to 1000 characters",
        "by is of type number, expected a string of up to 1000 characters",
        f"note is '{'x' * 80}', expected a string of up to 1000 characters",
        "nothing here is right",
    ]


@pytest.mark.parametrize("value", ["", None, 7, ["a"], "x" * (MAX_TEXT_LENGTH + 1)])
def test_a_text_has_1_to_1000_characters(value: Any) -> None:
    fields = fields_of(name=value)

    assert fields.text("name") == ""
    with pytest.raises(RefusedError, match=r"name is .*expected a string of 1 to 1000 characters"):
        fields.done()


@pytest.mark.parametrize("value", ["a", "two\nlines", "x" * MAX_TEXT_LENGTH])
def test_any_other_text_is_read(value: str) -> None:
    fields = fields_of(name=value)

    assert (fields.text("name"), fields.optional_text("name")) == (value, value)
    fields.done()


def test_a_text_may_be_longer_where_the_field_says_so() -> None:
    fields = fields_of(name="x" * 1_001)

    assert len(fields.text("name", most=1_001)) == 1_001
    fields.done()


@pytest.mark.parametrize("value", ["a\n", "\na", "ab "])
def test_the_whole_text_has_to_match(value: str) -> None:
    fields = fields_of(name=value)
    fields.text("name", re.compile("[a-z]+"), "letters")

    with pytest.raises(RefusedError, match="expected letters"):
        fields.done()


def nested(levels: int, *, inside: Any = 1) -> Any:
    """Lists and objects within each other."""
    for level in range(levels):
        inside = [inside] if level % 2 else {"a": inside}
    return inside


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (nested(MAX_DEPTH), None),
        ([1.5, -(10**300), True, None, "NaN", {"a": []}], None),
        (nested(MAX_DEPTH + 1), "is nested more than 100 levels deep"),
        (nested(50_000), "is nested more than 100 levels deep"),
        (nested(3, inside=float("inf")), "has a number that does not fit into a double"),
        (float("nan"), "has a number that does not fit into a double"),
        ([1, 10**400], "has a number that does not fit into a double"),
        (["\udfff"], "has half of a surrogate pair, which is no character"),
        ({"\ud800": 1}, "has half of a surrogate pair, which is no character"),
    ],
    ids=["100 levels", "fine", "101 levels", "50000 levels", "inf", "nan", "large", "half", "key"],
)
def test_what_not_every_reader_of_json_takes_is_found(value: Any, problem: str | None) -> None:
    assert problem_inside(value) == problem


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(max_size=5), VALUES))
def test_equal_values_have_the_same_canonical_text(value: JsonObject) -> None:
    text = canonical_json(value)

    assert json.loads(text) == value
    assert canonical_json(dict(reversed(value.items()))) == text
    assert b"\n" not in text


def test_half_a_surrogate_pair_is_written_as_utf_8() -> None:
    """A result or an error of the owner's may have one."""
    value = {"ä": "\ud83d", "b": "\\ud83d"}
    text = canonical_json(value)

    assert text == b'{"b":"\\\\ud83d","\xc3\xa4":"\\ud83d"}'
    assert json.loads(text.decode()) == value


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({}, "object"),
        ([], "array"),
        ("", "string"),
        (False, "boolean"),
        (None, "null"),
        (0, "number"),
        (0.5, "number"),
    ],
)
def test_types_have_their_json_names(value: Any, name: str) -> None:
    assert json_type(value) == name


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(2, 80))
def test_a_shortened_text_fits_and_is_the_beginning(text: str, most: int) -> None:
    short = shorten(text, most)

    assert json_size(short) <= most
    assert text.startswith(short)
    if json_size(text) <= most:
        assert short == text


def test_a_long_text_is_not_shortened_further_than_it_has_to_be() -> None:
    assert shorten("x" * 300_000, 1_000) == "x" * 998
    assert shorten("\U0001f4a5" * 1_000, 500) == "\U0001f4a5" * 41  # of twelve bytes each


def test_a_refused_value_is_shown_in_one_short_line() -> None:
    assert show("two\nlines") == r"'two\nlines'"
    assert show("x" * 1_000) == repr("x" * 80)
    assert show({"secret": 1}) == "of type object"
    assert show(None) == "missing or null"
