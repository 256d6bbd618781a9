"""JSON at the border: read strictly, with every problem named, and written in one form."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime  # noqa: TID251 - writes a time, asks for none
from typing import Any, TypeAlias, TypeGuard

JsonObject: TypeAlias = dict[str, Any]

MAX_DEPTH = 100
"""Levels of nesting of a value; Python's own JSON stops at about 1,000."""

MAX_TEXT_LENGTH = 1_000
"""Characters of a text field, unless it says otherwise."""


class Fields:
    """Reads the fields of a JSON object, remembers which, and collects what is wrong with them.

    >>> fields = Fields({"requestedBy": "ada", "other": 1}, "the event", ValueError)
    >>> fields.text("requestedBy"), fields.read
    ('ada', {'requestedBy': 'ada'})

    Attributes:
        read: the fields that were read and are there, as they were sent.
    """

    def __init__(self, value: Any, what: str, error: type[Exception]) -> None:
        """Take the object.

        Args:
            value: anything; whatever is not an object is refused at once.
            what: the object's name in messages, for example ``"the event"``.
            error: what ``done`` raises.
        """
        if not isinstance(value, dict):
            raise error(f"{what} is {show(value)}, expected a JSON object")
        self.read: JsonObject = {}
        self._value = value
        self._error = error
        self._problems: list[str] = []

    @classmethod
    def from_json(cls, text: str, what: str, error: type[Exception]) -> Fields:
        """Read an object from its JSON text, as ``parse_json`` does."""
        try:
            value = parse_json(text)
        except NotJsonError as problem:
            raise error(f"{what} {problem}") from problem
        return cls(value, what, error)

    def value(self, name: str) -> Any:
        """The field as it was sent, or None if it is missing or no JSON that every reader takes."""
        value = self.unchecked(name)
        if problem := problem_inside(value):
            self.refuse(f"{name} {problem}")
            return None
        return value

    def unchecked(self, name: str) -> Any:
        """The field as it was sent: for one whose parts are checked one by one."""
        if name in self._value:
            self.read[name] = self._value[name]
        return self._value.get(name)

    def text(
        self,
        name: str,
        pattern: re.Pattern[str] = re.compile(r".+", re.DOTALL),
        expected: str = f"a string of 1 to {MAX_TEXT_LENGTH} characters",
        most: int = MAX_TEXT_LENGTH,
    ) -> str:
        """A required string.

        Args:
            name: of the field.
            pattern: that the whole string has to match.
            expected: the pattern in words.
            most: characters.
        """
        value = self.unchecked(name)
        if not _is_text(value, most) or not pattern.fullmatch(value):
            self.refuse(f"{name} is {show(value)}, expected {expected}")
            return ""
        return value

    def optional_text(self, name: str) -> str | None:
        """A string of up to 1,000 characters, or None if it is missing or null."""
        value = self.unchecked(name)
        if value is None:
            return None
        if not _is_text(value, MAX_TEXT_LENGTH):
            self.refuse(
                f"{name} is {show(value)}, expected a string of up to {MAX_TEXT_LENGTH} characters"
            )
            return None
        return value

    def refuse(self, problem: str) -> None:
        """Note a problem; ``done`` names all of them."""
        self._problems.append(problem)

    def done(self) -> None:
        """Raise the error if there was a problem: one line that names every one."""
        if self._problems:
            raise self._error("; ".join(self._problems))


class NotJsonError(ValueError):
    """The message says what is wrong, and follows the name of what was read."""


def parse_json(text: str | bytes) -> Any:
    """Read JSON that every reader understands in the same way.

    It is UTF-8 without a byte order mark, no object has a key twice, and ``problem_inside`` finds
    nothing in it.

    >>> parse_json(b'{"sku": 7}')
    {'sku': 7}

    Raises:
        NotJsonError: anything else, however it is nested.
    """
    try:
        if isinstance(text, bytes):
            encoding = json.detect_encoding(text).upper()
            if encoding != "UTF-8":
                named = encoding.replace("-SIG", " with a byte order mark")
                raise ValueError(f"it is {named}, expected UTF-8")
            text = text.decode()
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise NotJsonError(f"is not JSON: {error}") from None
    if problem := problem_inside(value):
        raise NotJsonError(problem)
    return value


def problem_inside(value: Any) -> str | None:
    """Find what ``json.loads`` lets pass and not every JSON reader does; without recursion."""
    pending = [(value, 1)]
    while pending:
        current, depth = pending.pop()
        if isinstance(current, dict | list):
            if depth > MAX_DEPTH:
                return f"is nested more than {MAX_DEPTH} levels deep"
            children = [*current, *current.values()] if isinstance(current, dict) else current
            pending += [(child, depth + 1) for child in children]
        elif isinstance(current, str) and not _is_unicode(current):
            return "has half of a surrogate pair, which is no character"
        elif json_type(current) == "number" and not _is_double(current):
            return "has a number that does not fit into a double"
    return None


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value, in UTF-8, whatever the order of its keys was.

    >>> canonical_json({"b": 1, "a": "x"})
    b'{"a":"x","b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="backslashreplace")  # half a surrogate pair has no UTF-8


def wire_time(seconds: float) -> str:
    """A time in the form that it has on the wire.

    >>> wire_time(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def abridge(value: JsonObject, most: int) -> JsonObject:
    """The value, with as much of its long texts, lists and objects as ``most`` bytes of JSON take.

    >>> abridge({"items": [1] * 90}, 50)
    {'items': [1, 1, 1, '… 87 more']}
    """
    if json_size(value) <= most:
        return value
    shorter = (_shortened(value, detail) for detail in (300, 100, 30, 10, 3, 1))
    return next((short for short in shorter if json_size(short) <= most), {"…": "more"})


def _shortened(value: Any, detail: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= 10 * detail else f"{value[: 10 * detail]}…"
    if isinstance(value, dict):
        kept = list(value.items())[:detail]
        rest = {"…": f"{len(value) - detail} more"} if len(value) > detail else {}
        return {_shortened(k, detail): _shortened(v, detail) for k, v in kept} | rest
    if isinstance(value, list):
        more = [f"… {len(value) - detail} more"] if len(value) > detail else []
        return [_shortened(child, detail) for child in value[:detail]] + more
    return value


def json_type(value: Any) -> str:
    """The JSON name of a value's type.

    >>> json_type(True), json_type(2.5), json_type([])
    ('boolean', 'number', 'array')
    """
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def json_size(value: Any) -> int:
    """Bytes of the value as the SDK writes it: JSON in ASCII."""
    return len(json.dumps(value))


def shorten(text: str, most: int) -> str:
    """The beginning of a text, as much of it as takes at most so many bytes of JSON.

    >>> shorten("too long", 6), shorten("日本", 8)
    ('too ', '日')
    """
    while (size := json_size(text)) > most:
        text = text[: len(text) * most // size]  # shorter, because most is less than size
    return text


def show(value: Any) -> str:
    """A short, one-line rendering of a refused value; only strings are quoted, and cut."""
    if value is None:
        return "missing or null"
    return repr(value[:80]) if isinstance(value, str) else f"of type {json_type(value)}"


def _is_double(number: int | float) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


def _is_text(value: Any, most: int) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= most and _is_unicode(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique_keys(pairs: list[tuple[str, Any]]) -> JsonObject:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is given twice")
    return fields
