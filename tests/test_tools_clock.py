"""The time tool: zones by many names."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from qianda.models.errors import ToolError
from qianda.tools import Context, current_time
from qianda.tools.builtin.clock import find_zone


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Europe/Paris", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ("Paris", "Europe/Paris"),
        ("Paris, France", "Europe/Paris"),
        ("New York", "America/New_York"),
        ("new york city", "America/New_York"),
        ("Beijing", "Asia/Shanghai"),
        ("北京", "Asia/Shanghai"),
        ("PST", "America/Los_Angeles"),
        ("utc", "UTC"),
        ('"Asia/Tokyo"', "Asia/Tokyo"),
    ],
)
def test_names(text: str, name: str) -> None:
    zone, found = find_zone(text)
    assert found == name
    assert zone == ZoneInfo(name)


@pytest.mark.parametrize(
    ("text", "minutes"), [("UTC+2", 120), ("GMT-3:30", -210), ("+05:30", 330), ("utc + 8", 480), ("UTC−5", -300)]
)
def test_offsets(text: str, minutes: int) -> None:
    zone, _ = find_zone(text)
    assert zone is not None
    offset = zone.utcoffset(datetime.now(zone))
    assert offset is not None
    assert offset.total_seconds() == minutes * 60


@pytest.mark.parametrize("text", ["local", "", "here"])
def test_local(text: str) -> None:
    assert find_zone(text)[0] is None


@pytest.mark.parametrize("text", ["Pariz", "Europe/Pari"])
def test_close_names_are_shown(text: str) -> None:
    with pytest.raises(ToolError, match=f'no time zone "{text}"; did you mean Europe/Paris'):
        find_zone(text)


@pytest.mark.parametrize("text", ["Nowhere at all", "../../etc/passwd", "千", "UTC+99:99x"])
def test_unknown_names_are_told(text: str) -> None:
    with pytest.raises(ToolError, match="there is no time zone"):
        find_zone(text)


async def test_the_tool_says_the_time() -> None:
    result = await current_time.call({"timezone": "Asia/Shanghai"}, Context())
    text = str(result.content)
    assert text.endswith("(Asia/Shanghai, UTC+08:00)")
    shown = datetime.strptime(text.partition(",")[0], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    assert abs((datetime.now(ZoneInfo("UTC")) - shown).total_seconds()) < 60
