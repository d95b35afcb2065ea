"""Where the values of a call come from: the user's words, or what tools brought in, which nobody vouches for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

from qianda.tools.provenance_values import (
    choices,
    date_forms,
    host_of,
    is_account,
    leaves,
    number_forms,
    number_in,
    numbers_of,
    phrase,
    place_phrase,
    places_in,
    squeezed,
)

Kind = Literal["workspace", "search", "other"]
Scope = Literal["all", "addresses", "command"]
_LONGEST_FIELD = 12  # words; what is longer is prose
_LONGEST_VALUE = 12  # words of an argument that is judged as one value
_RUN = 3  # words in a row that are no chance
_LONG_RUN = 8  # the same, in a long text
_SELECTED = 3  # records of a result that one phrase may select
_WINDOWS = 60  # places of a long text that are looked at
_NAMES_A_NUMBER = re.compile(r"(^|[_.])(id|ids|number|no)_?(\[\d+\])?$", re.IGNORECASE)
_FILL = frozenset(
    re.findall(r"\w+", "a an and are as at be by for from i in is it me my of on or our the this to was with you your")
)


@dataclass(eq=False)
class Source:
    """What one call brought in.

    Args:
        call: the call, for people.
        text: what it gave.
        kind: a file of the workspace, the results of a web search, or anything else.
    """

    call: str
    text: str
    kind: Kind = "other"

    @cached_property
    def words(self) -> str:
        """The text as one phrase."""
        return phrase(self.text)

    @cached_property
    def squeezed(self) -> str:
        """The text without anything between letters and digits."""
        return self.words.replace(" ", "")

    @cached_property
    def fields(self) -> dict[str, list[_Record]]:
        """The records that a value is a whole field of, by the value's phrase; empty where the text is prose."""
        return _fields(self.text)

    def snippet(self, value: str) -> str:
        """The place of a value in the text, with some of what stands around it."""
        core = r"[\W_]*".join(re.findall(r"[^\W_]+", value))
        as_field = rf'(?<=[:,\[])"?{core}"?(?=[,}}\]])'
        anywhere = rf"(?<![^\W_]){core}(?![^\W_])"
        found = re.search(as_field, self.text, re.IGNORECASE) or re.search(anywhere, self.text, re.IGNORECASE)
        start, end = found.span() if found else (0, 0)
        around = self.text[max(0, start - 50) : end + 30]
        dots = "…" if start > 50 else "", "…" if end + 30 < len(self.text) else ""
        return dots[0] + " ".join(around.split()) + dots[1]


@dataclass(eq=False)
class _Record:
    """The values that stand together in a result, as phrases."""

    phrases: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class Carried:
    """A value of a call that the user did not give.

    Args:
        name: the argument.
        value: as it stands there.
        source: what brought it in, or None where nobody has said it.
    """

    name: str
    value: str
    source: Source | None

    def __str__(self) -> str:
        value = " ".join(self.value.split())
        what = f'{self.name} "{value if len(value) <= 80 else value[:79] + "…"}"'
        if self.source is None:
            return f"{what} is neither from you nor from anything that was read"
        return f'{what} is not from you but from {self.source.call}: "{self.source.snippet(self.value)}"'


# Whose a value is, and what to say of it where it is not the user's. "field" is a value that stands for itself in what
# a service gave, or names something and was guessed; it is fine beside something that the user named.
_Judgement = tuple[Literal["user", "field", "prose", ""], Carried | None]


class Provenance:
    """Whose words are whose in one conversation."""

    def __init__(self) -> None:
        self._own = " "
        self._own_squeezed = ""
        self._numbers: set[float] = set()
        self._numbers_that_name: set[float] = set()
        self._sources: list[Source] = []
        self._vocabulary: set[str] = set()  # all words of the sources: what is not there needs no search
        self._fields: dict[str, list[Source]] = {}

    def say(self, text: str) -> None:
        """Take in the user's words."""
        self._take(text)
        self._numbers_that_name |= numbers_of(text, names=True)

    def agree(self, arguments: dict[str, Any]) -> None:
        """The user has agreed to a call: its values are theirs from now on, long texts and ids apart."""
        for name, value in leaves(arguments):
            if len(phrase(str(value)).split()) <= _LONGEST_VALUE and not _is_name(name, value):
                self._take(str(value))

    def _take(self, text: str) -> None:
        self._own += phrase(text)
        self._own_squeezed += " " + squeezed(text)
        self._numbers |= numbers_of(text)

    def hear(self, source: Source) -> None:
        """Take in what a tool brought."""
        self._sources.append(source)
        self._vocabulary.update(source.words.split())
        for value in source.fields:
            self._fields.setdefault(value, []).append(source)

    def carried(self, arguments: dict[str, Any], schema: dict[str, Any], scope: Scope = "all") -> Carried | None:
        """The first value of a call that is not the user's, if any.

        Args:
            arguments: of the call, validated.
            schema: of the arguments.
            scope: what counts: all values; of a call that only reads, addresses; or those of a command or program,
                which is made of words that everybody uses.
        """
        if not self._sources:
            return None
        found = [self._place(name, place, scope) for name, place in _places(arguments, scope)]
        if scope == "command":
            found += [self._copied(name, value) for name, value in leaves(arguments)]
        if any(found) or scope != "all":
            return next((one for one in found if one), None)
        offered = choices(schema)
        anchored, unsure = False, list[Carried]()
        for name, value in leaves(arguments):
            if isinstance(value, str) and (value in offered or not value.strip()):
                continue
            owner, carried = self._judge(name, value)
            anchored |= owner == "user"
            if carried and owner == "prose":
                return carried
            if carried:
                unsure.append(carried)
        # What a service gave as a field, beside something that the user named, fills in the user's task.
        return None if anchored or not unsure else unsure[0]

    # Addresses and accounts: where something goes.

    def _place(self, name: str, place: str, scope: Scope) -> Carried | None:
        whole, host = place_phrase(place), host_of(place)
        if whole in self._own or (is_account(place) and squeezed(place) in self._own_squeezed):
            return None
        if host and scope == "addresses" and host in self._own:
            return None
        source = next((source for source in self._sources if _holds(source, place, whole)), None)
        if source is not None and scope == "addresses" and source.kind == "search":
            return None  # its results are there to be opened
        if source is not None and scope != "command" and self._field(whole)[1]:
            return None
        if source is None and host:
            source = self._holding([host])
        if source is None and (scope != "all" or host):
            return None  # the model knows addresses of its own
        return Carried(name, place, source)

    # Commands and programs.

    def _copied(self, name: str, value: object) -> Carried | None:
        """Whether a line of it was copied from outside the workspace."""
        for line in str(value).splitlines():
            words = [word for part in line.split() if (word := phrase(part).strip())]
            if len(words) < _RUN or f" {' '.join(words)} " in self._own:
                continue
            run, source = self._longest_run(words, [source for source in self._sources if source.kind != "workspace"])
            if source is not None and len(run) >= max(_RUN, len(words) // 2) and f" {' '.join(run)} " not in self._own:
                return Carried(name, " ".join(run), source)
        return None

    # Any other value.

    def _judge(self, name: str, value: object) -> _Judgement:
        """Whose a value is, and what to say of it where it is not the user's."""
        number = number_in(value)
        if number is not None:
            return self._judge_number(name, value, number)
        text = str(value)
        dated, undated = date_forms(text)
        if dated:
            return self._judge_date(name, text, dated, undated)
        whole = phrase(text)
        words = whole.split()
        mine = whole in self._own or (is_account(text) and squeezed(text) in self._own_squeezed)
        if not words or mine:
            return ("user" if len(whole) > 4 else ""), None
        if len(words) > _LONGEST_VALUE:
            return self._judge_long(name, words)
        field_of, _ = self._field(whole)
        if field_of is not None:
            return "field", Carried(name, text, field_of)
        covered = self._covered(words)
        run, source = self._longest_run(words, self._sources)
        foreign = [word for word in run if word not in covered and word not in _FILL]
        enough = len(run) == len(words) or len(run) >= _RUN
        if source is not None and enough and any(len(word) > 2 or not word.isascii() for word in foreign):
            return "prose", Carried(name, text if len(run) == len(words) else " ".join(run), source)
        own_run = max((len(part) for part in _runs_in(words, self._own)), default=0)
        return ("user" if own_run >= _RUN or covered == set(words) else ""), None

    def _judge_number(self, name: str, value: object, number: float) -> _Judgement:
        names = _is_name(name, value)
        if number in (self._numbers_that_name if names else self._numbers):
            return ("user" if names or number >= 10 else ""), None
        if number < 10 and not names:
            return "", None  # no number that would tell where it is from
        forms = number_forms(number)
        field_of = next((found for form in forms if (found := self._field(form)[0])), None)
        if field_of is not None:
            return "field", Carried(name, str(value), field_of)
        source = self._holding(forms)
        if source is not None:
            return "prose", Carried(name, str(value), source)
        return ("field", Carried(name, str(value), None)) if names else ("", None)  # a name that was guessed

    def _judge_date(self, name: str, text: str, dated: Sequence[str], undated: Sequence[str]) -> _Judgement:
        if any(form in self._own for form in dated):
            return "user", None
        field_of = self._field(phrase(text))[0] or self._field(phrase(text[:10]))[0]
        if field_of is not None:
            return "field", Carried(name, text, field_of)
        source = self._holding(dated)
        if source is not None:
            return "prose", Carried(name, text[:10], source)
        return ("user" if any(form in self._own for form in undated) else ""), None

    def _judge_long(self, name: str, words: list[str]) -> _Judgement:
        """A text is the model's own, unless most of it was copied."""
        step = max(1, (len(words) - _LONG_RUN) // _WINDOWS)
        starts = range(0, len(words) - _LONG_RUN + 1, step)
        windows = [f" {' '.join(words[start : start + _LONG_RUN])} " for start in starts]
        theirs = [window for window in windows if window not in self._own]
        if len(theirs) * 2 < len(windows):
            return "user", None
        for source in self._sources:
            copied = [window for window in theirs if window in source.words]
            if len(copied) * 2 > len(windows):
                return "prose", Carried(name, copied[0].strip(), source)
        return "", None

    # Looking things up.

    def _field(self, whole: str) -> tuple[Source | None, bool]:
        """The result that has a value as a whole field, and whether in a record that the user's words select."""
        found: Source | None = None
        for source in self._fields.get(whole, ()):
            found = found or source
            for other in (other for record in source.fields[whole] for other in record.phrases if other != whole):
                if _names_something(other) and other in self._own and len(source.fields[other]) <= _SELECTED:
                    return source, True
        return found, False

    def _holding(self, forms: Sequence[str]) -> Source | None:
        """The first source that has one of some phrases."""
        likely = [form for form in forms if self._vocabulary.issuperset(form.split())]
        return next((source for source in self._sources if any(form in source.words for form in likely)), None)

    def _covered(self, words: list[str]) -> set[str]:
        """The words that are the user's, or stand in a field."""
        covered = {word for part in _runs_in(words, self._own) for word in part}
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                if f" {' '.join(words[start:end])} " in self._fields:
                    covered |= set(words[start:end])
        return covered

    def _longest_run(self, words: list[str], sources: Iterable[Source]) -> tuple[list[str], Source | None]:
        """The most words in a row that one source has in a row, too."""
        best: tuple[list[str], Source | None] = [], None
        if not any(part in self._vocabulary for word in words for part in word.split()):
            return best
        for source in sources:
            run = max(_runs_in(words, source.words), key=len, default=list[str]())
            if len(run) > len(best[0]):
                best = run, source
        return best


def _is_name(name: str, value: object) -> bool:
    """Whether a number tells one thing from others, and is no quantity."""
    return number_in(value) is not None and (isinstance(value, str) or _NAMES_A_NUMBER.search(name) is not None)


def _runs_in(words: list[str], text: str) -> list[list[str]]:
    """The longest stretches of words that a text holds, one after the other."""
    runs: list[list[str]] = []
    start = 0
    while start < len(words):
        end = start
        while end < len(words) and f" {' '.join(words[start : end + 1])} " in text:
            end += 1
        if end > start:
            runs.append(words[start:end])
        start = max(end, start + 1)
    return runs


def _holds(source: Source, place: str, whole: str) -> bool:
    return whole in source.words or (is_account(place) and squeezed(place) in source.squeezed)


def _places(arguments: dict[str, Any], scope: Scope) -> list[tuple[str, str]]:
    texts = ((name, value) for name, value in leaves(arguments) if isinstance(value, str))
    return [(name, place) for name, text in texts for place in places_in(text, domains=scope == "command")]


def _names_something(words: str) -> bool:
    """Whether a field's value can select a record by standing in the user's words."""
    bare = words.strip()
    return len(bare) >= 4 and not bare.replace(" ", "").isdigit()


def _fields(text: str) -> dict[str, list[_Record]]:
    import orjson

    found: dict[str, list[_Record]] = {}
    text = text.strip()
    if text[:1] not in ("{", "["):
        if len(text) <= 100 and len(words := phrase(text).split()) <= _LONGEST_FIELD:
            found[f" {' '.join(words)} "] = [_Record()]
        return found
    try:
        parsed: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return found

    def take(value: object, record: _Record) -> None:
        if isinstance(value, dict):
            inner = _Record()
            for key, item in cast("dict[str, object]", value).items():
                if " " in key or not key.islower():  # it is a name itself, not the name of a field
                    named = _Record()
                    take(key, named)
                    take(item, named)
                else:
                    take(item, inner)
        elif isinstance(value, list):
            for item in cast("list[object]", value):
                take(item, record)
        else:
            number = number_in(value)
            forms = number_forms(number) if number is not None else [phrase(str(value))]
            prose = "\n" in str(value) or len(forms[0].split()) > _LONGEST_FIELD
            if prose or value is None or isinstance(value, bool) or not forms[0].strip():
                return
            for form in forms:
                record.phrases.add(form)
                if record not in (records := found.setdefault(form, [])):
                    records.append(record)

    take(parsed, _Record())
    return found
