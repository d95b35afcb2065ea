"""The tools that the live checks of ``qianda doctor --full`` offer to the model: they do nothing but answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qianda.models.errors import ToolError


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest: name, and age in years."""

    name: str
    age: int


@dataclass(frozen=True, slots=True)
class Party:
    """Some people and their mood."""

    people: list[Guest]
    mood: Literal["good", "bad"]


def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """The weather in a city now."""
    if city.lower() == "atlantis":
        raise ToolError("There is no city Atlantis")
    return f"{city}: sunny, 18 degrees {unit}"


def find_user(name: str) -> str:
    """The id of a user, by name."""
    return f"{name} has the id U-7731"


def get_balance(user_id: str) -> str:
    """The balance of a user's account, by id."""
    return "4,250 euro" if user_id == "U-7731" else f"No user has the id {user_id}"


def list_users() -> list[str]:
    """The names of all users."""
    return ["Ada", "Grace", "Linus"]


def plan_dinner(place: str, guests: list[Guest]) -> str:
    """Plan a dinner for guests, each with name and age."""
    return f"Planned: {place}, {len(guests)} guests"


def send_mail(to: list[str], subject: str) -> str:
    """Send a mail to one or more addresses."""
    return f"Sent {subject!r} to {len(to)}"


def set_heating(room: str, degrees: float, hours: int, quiet: bool) -> str:
    """Heat a room to so many degrees for so many hours."""
    return f"{room}: {degrees} degrees for {hours} h{', quietly' if quiet else ''}"


def write_note(text: str) -> str:
    """Keep a note, word for word."""
    return f"Kept a note of {len(text)} characters"


EVERY_TOOL = (get_weather, find_user, get_balance, list_users, plan_dinner, send_mail, set_heating, write_note)
