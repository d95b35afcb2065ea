"""The fields of a form: what JSON Schema says of one, and the value that a person gave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from qianda.tui.transcript.rows import visible
from qianda.tui.words import t

Fields = Mapping[str, Any]
_NOTHING = object()


class Pick(Static, can_focus=True):
    """One of some values: Left, Right, Space or a click take the next.

    Args:
        options: texts and values.
        value: the first.
        key: its id.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", show=False, priority=True),
        Binding("right,space", "turn(1)", show=False, priority=True),
    ]

    def __init__(self, options: list[tuple[str, Any]], value: Any, key: str) -> None:
        super().__init__(markup=False, id=key)
        self._options = options
        self._at = next((at for at, (_, option) in enumerate(options) if option == value), 0)

    @property
    def value(self) -> Any:
        """What is picked."""
        return self._options[self._at][1]

    def on_mount(self) -> None:
        """Show it."""
        self.action_turn(0)

    def action_turn(self, step: int) -> None:
        """The next one."""
        self._at = (self._at + step) % len(self._options)
        self.update(f"‹ {visible(self._options[self._at][0])} ›")

    def on_click(self) -> None:
        """As a key."""
        self.focus()
        self.action_turn(1)


def options_of(field: Fields) -> list[tuple[str, Any]]:
    """Texts and values that a field may have; none where it is typed."""
    if field.get("type") == "boolean":
        return [(t("no"), False), (t("yes"), True)]
    named = [option for option in cast("list[Fields]", field.get("oneOf", [])) if "const" in option]
    if named:
        return [(str(option.get("title", option["const"])), option["const"]) for option in named]
    values = cast("list[Any]", field.get("enum", []))
    names = cast("list[Any]", field.get("enumNames", values))
    return [(str(name), value) for name, value in zip(names, values, strict=False)]


def widget_of(name: str, field: Fields, key: str, *, needed: bool) -> Pick | Input:
    """What a field is filled in with.

    Args:
        name: the field's.
        field: its JSON Schema.
        key: the widget's id.
        needed: it may not be left empty.
    """
    default = field.get("default")
    if options := options_of(field):
        empty = [] if needed or default is not None else [(t("(left empty)"), _NOTHING)]
        return Pick([*empty, *options], default, key)
    hint = _hint(field)
    several = cast("list[Any] | None", default if isinstance(default, list) else None)
    text = "" if default is None else str(cast("object", default)) if several is None else ", ".join(map(str, several))
    kind = {"integer": "integer", "number": "number"}.get(str(field.get("type")), "text")
    return Input(text, placeholder=visible(hint or name), id=key, compact=True, type=cast("Any", kind))


def _hint(field: Fields) -> str:
    """What may be typed."""
    if field.get("type") == "array":
        items = cast("Fields", field.get("items", {}))
        choices = [str(option.get("const")) for option in cast("list[Fields]", items.get("anyOf", []))]
        return t("some of {values}, with commas", values=", ".join([*map(str, items.get("enum", [])), *choices]))
    words = {"integer": t("a whole number"), "number": t("a number")}.get(str(field.get("type")), "")
    form = {
        "email": t("an e-mail address"),
        "uri": t("an address such as https://example.org"),
        "date": t("a date: 2026-12-31"),
        "date-time": t("a time: 2026-12-31T18:00:00Z"),
    }.get(str(field.get("format")), "")
    low, high = field.get("minimum"), field.get("maximum")
    bounds = [
        *([t("from {low}", low=low)] if low is not None else []),
        *([t("to {high}", high=high)] if high is not None else []),
    ]
    return " ".join(filter(None, [form or words, *bounds]))


def read_field(widget: Pick | Input, field: Fields, *, needed: bool) -> tuple[Any, str]:
    """The value of a field, None for an empty one, and what is wrong with it.

    Args:
        widget: what the person filled in.
        field: its JSON Schema.
        needed: it may not be left empty.
    """
    if isinstance(widget, Pick):
        return (None, "") if widget.value is _NOTHING else (widget.value, "")
    text = widget.value.strip()
    if not text:
        return None, t("It has to be filled in") if needed else ""
    value: Any = text
    try:
        match field.get("type"):
            case "integer":
                value = int(text)
            case "number":
                value = float(text)
            case "array":
                value = [part.strip() for part in text.split(",") if part.strip()]
            case _:
                pass
    except ValueError:
        return None, t("It has to be {what}", what=_hint(field))
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import SchemaError

    validator: Any = Draft202012Validator(field, format_checker=FormatChecker())
    try:
        Draft202012Validator.check_schema(field)
    except SchemaError:  # the server sees for itself
        return value, ""
    error = next(validator.iter_errors(value), None)
    return value, "" if error is None else t("It has to be {what}", what=_hint(field)) if _hint(
        field
    ) else error.message
