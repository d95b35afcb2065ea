"""Values in texts and arguments, brought to one form: words, numbers, dates and addresses however they are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, cast

_APART = re.compile(r"[\W_]+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_CJK = re.compile("([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
_MONTHS = re.findall(r"\w+", "january february march april may june july august september october november december")
_MONTH = "(?:" + "|".join(f"{month}|{month[:3]}" for month in _MONTHS) + r")\b\.?"
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ].*)?")
_JOINING = ("a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# A number with such a meaning is no other number: "June 13" does not name the file 13.
_MEANT_OTHERWISE = re.compile(
    rf"{_MONTH}\s*\d+(?:st|nd|rd|th)?|\d+(?:st|nd|rd|th)?\s*(?:of\s+)?{_MONTH}|\d{{4}}-\d\d-\d\d|\d+:\d\d|\b\d+[.)]\s"
    r"|\d+(?:st|nd|rd|th)\b",
    re.IGNORECASE,
)
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_URL = r"[a-z][a-z0-9+.-]*://[^\s'\"<>()\[\]`]+|\bwww\.[^\s'\"<>()\[\]`]+"
_IPV4 = r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"
_PLACE = re.compile(f"{_URL}|{_EMAIL}|{_IPV4}", re.IGNORECASE)
# Account, card and telephone numbers: long, and mostly digits.
_ACCOUNT = re.compile(r"(?<![\w-])(?:[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}|\+?\d[\d -]{8,}\d)(?![\w-])", re.IGNORECASE)
_DATE_LIKE = re.compile(r"\d{4}[- ]\d\d[- ]\d\d.*")
_DOMAIN = re.compile(r"(?<![\w@./-])(?:[a-z0-9-]+\.)+[a-z]{2,24}(?:/[^\s'\"<>|;&]*)?(?![\w@])", re.IGNORECASE)
_FILE_ENDINGS = re.compile(
    r".*\.(py|sh|rs|md|pl|cc|so|ts|js|json|toml|yaml|yml|txt|html|css|c|h|go|java|csv|pdf|docx|xlsx)"
)


def phrase(text: str) -> str:
    """A text as words between single spaces, with one before and one behind; the text's length is its only cost."""
    if not text.isascii():
        text = _CJK.sub(r" \1 ", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))
    return f" {_APART.sub(' ', text.casefold()).strip()} "


def squeezed(text: str) -> str:
    """A text without anything between its letters and digits: account numbers are written in groups, or not."""
    return phrase(text).replace(" ", "")


def numbers_of(text: str, *, names: bool = False) -> set[float]:
    """The numbers that a person named, without dates, times and the numbering of lists.

    Args:
        text: the person's.
        names: only those that may be names, without quantities ("4 hours").
    """
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", _MEANT_OTHERWISE.sub(" ", text))
    found = re.finditer(r"(?<![\w.])(\d+(?:\.\d+)?)(?![\w])[\s%€$£-]*(\w*)", plain)
    return {float(one[1]) for one in found if not (names and one[2].isalpha() and one[2].lower() not in _JOINING)}


def number_in(value: object) -> float | None:
    """The number that a value is or is written as; None where it is no plain number, or longer than numbers are."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    return float(text) if len(text) <= 12 and _NUMBER.fullmatch(text) else None


def number_forms(number: float) -> list[str]:
    """How a number may be written, as phrases."""
    number = abs(number)
    forms = [f"{number:.2f}", f"{number:,.2f}", f"{number:g}", f"{number:.1f}"]
    if number == int(number):
        forms += [str(int(number)), f"{int(number):,}"]
    return [phrase(form) for form in dict.fromkeys(forms)]


def date_forms(value: str) -> tuple[list[str], list[str]]:
    """How the date that a value begins with may be written, as phrases: with its year, and without; or nothing."""
    found = _ISO_DATE.fullmatch(value.strip())
    if found is None or not 1 <= int(found[2]) <= 12:
        return [], []
    year, number, day = found[1], int(found[2]), int(found[3])
    days = [str(day), f"{day:02}", f"{day}{_ordinal(day)}"]
    names = [_MONTHS[number - 1], _MONTHS[number - 1][:3]]
    short = [phrase(text) for name in names for d in days for text in (f"{name} {d}", f"{d} {name}", f"{d} of {name}")]
    full = [phrase(f"{text}{year}") for text in short]
    full += [phrase(text) for text in (f"{year} {found[2]} {found[3]}", f"{day} {number} {year}")]
    full += [phrase(text) for text in (f"{number} {day} {year}", f"{found[2]} {found[3]} {year}")]
    return full, short


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def places_in(text: str, *, domains: bool = False) -> list[str]:
    """Where something may go: addresses of the web and of mail, account, card and telephone numbers.

    Args:
        text: of an argument.
        domains: also bare host names, which look like names of files.
    """
    found = [place.rstrip(".,;:!?)") for place in _PLACE.findall(text)]
    rest = _PLACE.sub(" ", text)
    found += [account for account in _ACCOUNT.findall(rest) if not _DATE_LIKE.fullmatch(account)]
    if domains:
        found += [name for name in _DOMAIN.findall(rest) if not _FILE_ENDINGS.fullmatch(name.partition("/")[0].lower())]
    return list(dict.fromkeys(found))


def is_account(place: str) -> bool:
    """Whether a place is an account or telephone number, which may be written in groups."""
    return _PLACE.fullmatch(place) is None and sum(char.isdigit() for char in place) >= 8


def host_of(place: str) -> str:
    """The host of a web address, as a phrase; "" for anything else."""
    bare = place.partition("://")[2] or (place if "@" not in place and not is_account(place) else "")
    return phrase(re.split(r"[/?#]", bare.rpartition("@")[2], maxsplit=1)[0].removeprefix("www.")) if bare else ""


def place_phrase(place: str) -> str:
    """A place as a phrase, without how it is reached."""
    return phrase(place.partition("://")[2] or place)


def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """The single values in an argument or a result, each with its place in it."""
    if isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            yield from leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[object]", value)):
            yield from leaves(item, f"{name}[{number}]")
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield name, value


def choices(schema: dict[str, Any]) -> set[str]:
    """The words that a tool's own schema offers; they come from nobody else."""
    found: set[str] = set()
    open_: list[object] = [schema]
    while open_:
        item = open_.pop()
        if isinstance(item, dict):
            node = cast("dict[str, object]", item)
            for key in ("enum", "const", "default"):
                found |= {word for _, word in leaves([node.get(key)]) if isinstance(word, str)}
            open_ += node.values()
        elif isinstance(item, list):
            open_ += cast("list[object]", item)
    return found
