"""The built-in tool ``current_time``: date and time in a zone, whose name may be written in many ways."""

from __future__ import annotations

import difflib
import re
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache

from qianda.models.errors import ToolError
from qianda.tools.function_tool import tool

# Names that people write and the time-zone database does not know.
_ALIASES = {
    "beijing": "Asia/Shanghai", "北京": "Asia/Shanghai", "上海": "Asia/Shanghai", "china": "Asia/Shanghai",
    "中国": "Asia/Shanghai", "shenzhen": "Asia/Shanghai", "香港": "Asia/Hong_Kong", "台北": "Asia/Taipei",
    "东京": "Asia/Tokyo", "首尔": "Asia/Seoul", "新加坡": "Asia/Singapore", "纽约": "America/New_York",
    "伦敦": "Europe/London", "巴黎": "Europe/Paris", "柏林": "Europe/Berlin", "悉尼": "Australia/Sydney",
    "洛杉矶": "America/Los_Angeles", "莫斯科": "Europe/Moscow", "san_francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles", "washington": "America/New_York", "boston": "America/New_York",
    "delhi": "Asia/Kolkata", "mumbai": "Asia/Kolkata", "india": "Asia/Kolkata", "france": "Europe/Paris",
    "germany": "Europe/Berlin", "uk": "Europe/London", "england": "Europe/London", "italy": "Europe/Rome",
    "spain": "Europe/Madrid", "geneva": "Europe/Zurich", "munich": "Europe/Berlin", "milan": "Europe/Rome",
    "pst": "America/Los_Angeles", "pdt": "America/Los_Angeles", "edt": "America/New_York",
    "est": "America/New_York", "cdt": "America/Chicago", "mdt": "America/Denver", "bst": "Europe/London",
    "cest": "Europe/Paris", "jst": "Asia/Tokyo", "kst": "Asia/Seoul", "ist": "Asia/Kolkata", "z": "UTC",
}  # fmt: skip
_OFFSET = re.compile(r"(?:utc|gmt)?([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)
_LOCAL = {"", "local", "localtime", "here", "system", "本地"}


@tool(read_only=True, consent=False, origin="built-in")
def current_time(timezone: str) -> str:
    """Get the current date and time.

    Args:
        timezone: IANA name, e.g. Europe/Paris
    """
    zone, name = find_zone(timezone)
    now = datetime.now(zone).astimezone(zone)
    offset = now.strftime("%z")
    return f"{now:%Y-%m-%d %H:%M:%S}, {now:%A} ({name}, UTC{offset[:3]}:{offset[3:5]})"


def find_zone(text: str) -> tuple[tzinfo | None, str]:
    """The time zone that a text means, and its proper name; ``None`` is that of this machine.

    Raises:
        ToolError: there is none of that name; names close to it are shown.
    """
    from zoneinfo import ZoneInfo

    wanted = text.strip().strip("\"'")
    if wanted.casefold() in _LOCAL:
        return None, "local time"
    offset = _OFFSET.fullmatch(wanted.replace(" ", "").replace("−", "-"))
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        if minutes <= 14 * 60 and int(offset[3] or 0) < 60:
            return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes)), wanted
    key = wanted.casefold().replace(" ", "_")
    names = _zone_names()
    # "Paris, France" and "New York City" are places too.
    for attempt in (key, key.partition(",")[0].strip("_"), key.removesuffix("_city"), key.removesuffix("_time")):
        name = _ALIASES.get(attempt) or names.get(attempt)
        if name is not None:
            return ZoneInfo(name), name
    close = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
    if not names:
        raise ToolError("this machine has no time-zone database; install the Python package tzdata")
    hint = "write an IANA name such as Europe/Paris, or an offset such as UTC+2"
    if close:
        hint = f"did you mean {' or '.join(dict.fromkeys(names[item] for item in close))}?"
    raise ToolError(f'there is no time zone "{text}"; {hint}')


@cache
def _zone_names() -> dict[str, str]:
    """Every zone's name by its lower-case spellings: the whole, and the place at its end."""
    from zoneinfo import available_timezones

    zones = sorted(available_timezones(), key=lambda zone: ("/" not in zone, zone))
    places = {zone.rpartition("/")[2].casefold(): zone for zone in reversed(zones) if not zone.startswith("Etc/")}
    return places | {zone.casefold(): zone for zone in zones}
