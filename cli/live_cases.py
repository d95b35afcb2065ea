"""The live checks of ``qianda doctor --full``: what a real model is asked, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from qianda.cli.live_tools import (
    EVERY_TOOL,
    Guest,
    Party,
    find_user,
    get_balance,
    get_weather,
    list_users,
    plan_dinner,
    send_mail,
    set_heating,
    write_note,
)
from qianda.cli.live_verdicts import Verdict, called, cut, in_language, is_object, says, thought, together


@dataclass(frozen=True, slots=True)
class Case:
    """One live check.

    Args:
        about: the group that it belongs to.
        name: unique.
        prompts: what the user says; of several, one run each, in one conversation.
        verdict: of the last run.
        tools: what the model may call.
        thinking: on, off, a budget in tokens, or None for off where the model can.
        streaming: as SSE; else as one JSON document.
        tokens: bound of one reply, or None.
        output: the ``output_type`` of the answer.
        filler: tokens of text in front of the prompt, about.
        image: a red square comes with the prompt.
    """

    about: str
    name: str
    prompts: str | tuple[str, ...]
    verdict: Verdict
    tools: tuple[Callable[..., Any], ...] = ()
    _: KW_ONLY
    thinking: bool | int | None = None
    streaming: bool = True
    tokens: int | None = None
    output: Any = str
    filler: int = 0
    image: bool = False


_PARIS = "What is the weather in Paris? Ask the tool."
_PRODUCT = "What is 17 times 23?"
_NEEDLE = "What is the secret number that stands somewhere in this text? Answer with the number."
_WEATHER = (get_weather,)
_IN_PARIS = called("get_weather", "18", city="Paris")
_NOTES = (
    ("Chinese and emoji", "价格：¥42，谢谢 😀"),
    ("code with quotes", 'print("a\\n", \'b\')  # {"x": [1]}'),
    ("markup", "<b>R&D</b> </br>"),
)
# Language, question, the city as it may be spelt, and what an answer in that language holds.
_LANGUAGES = (
    ("English", "What is the weather in Vienna? Ask the tool.", "Vienna|Wien", "degrees|sunny|°"),
    ("Chinese", "北京现在天气怎么样？请用工具查询，用中文回答。", "北京|Beijing", "[一-鿿]"),
    ("Japanese", "大阪の天気はどうですか。ツールで調べて日本語で答えてください。", "大阪|Osaka", "[ぁ-んァ-ン]"),
    ("Korean", "부산의 날씨는 어때요? 도구로 찾아 한국어로 답해 주세요.", "부산|Busan", "[가-힣]"),
    ("Arabic", "ما هو الطقس في القاهرة؟ استخدم الأداة وأجب بالعربية.", "القاهرة|Cairo", "[ء-ي]"),
    ("Russian", "Какая погода в Казани? Спроси инструмент, ответь по-русски.", "Казан|Kazan", "[а-я]"),
    ("Spanish", "¿Qué tiempo hace en Córdoba? Usa la herramienta, responde en español.", "C[oó]rdoba", "grados|sole|°"),
    ("Thai", "อากาศที่เชียงใหม่เป็นอย่างไร ใช้เครื่องมือแล้วตอบเป็นภาษาไทย", "เชียงใหม่|Chiang", "[ก-๙]"),
)

# The quick ones first.
CASES = (
    Case("calls", "one call", _PARIS, _IN_PARIS, _WEATHER),
    Case("calls", "one call as JSON", _PARIS, _IN_PARIS, _WEATHER, streaming=False),
    Case(
        "calls", "no call needed", "What is the capital of France? You know it.", says("Paris", calls=False), _WEATHER
    ),
    Case("calls", "no tools", "Say hello in one word.", says("hello")),
    Case(
        "calls",
        "calls in parallel",
        "What is the weather in Paris and in Tokyo? Ask for both at once.",
        together,
        _WEATHER,
    ),
    Case(
        "calls",
        "one of a choice",
        "What is the weather in Paris in fahrenheit? Ask the tool.",
        called("get_weather", unit="fahrenheit"),
        _WEATHER,
    ),
    Case("calls", "no arguments", "Which users are there? Ask the tool.", called("list_users", "Grace"), (list_users,)),
    Case(
        "calls", "one of eight tools", "Which id has the user Ada?", called("find_user", "7731", name="Ada"), EVERY_TOOL
    ),
    Case(
        "arguments",
        "a list of texts",
        "Mail 'Lunch' to a@x.org and b@x.org.",
        called("send_mail", to=["a@x.org", "b@x.org"]),
        (send_mail,),
    ),
    Case(
        "arguments",
        "nested objects",
        "Plan a dinner at Roma for Ann, 31, and Bo, 28.",
        called("plan_dinner", guests=[{"name": "Ann", "age": 31}, {"name": "Bo", "age": 28}]),
        (plan_dinner,),
    ),
    Case(
        "arguments",
        "numbers and switches",
        "Heat the kitchen to 20.5 degrees for 3 hours, quietly.",
        called("set_heating", degrees=20.5, hours=3, quiet=True),
        (set_heating,),
    ),
    *(
        Case(
            "arguments", name, f"Keep this note, word for word: {text}", called("write_note", text=text), (write_note,)
        )
        for name, text in _NOTES
    ),
    Case(
        "turns",
        "one call after another",
        "Find the user Ada, then tell me her balance.",
        called("get_balance", "4.?250", user_id="U-7731"),
        (find_user, get_balance),
    ),
    Case(
        "turns",
        "a call that fails",
        "What is the weather in Atlantis? Ask the tool once.",
        called("get_weather", "no|not|n't|unknown|exist", city="Atlantis"),
        _WEATHER,
    ),
    Case(
        "turns",
        "what was said before",
        (_PARIS, "Which city did I ask about? Do not call a tool."),
        says("Paris", calls=False),
        _WEATHER,
    ),
    Case(
        "turns", "a result asked about", (_PARIS, "And in Tokyo?"), called("get_weather", "18", city="Tokyo"), _WEATHER
    ),
    Case("thinking", "thinking on", _PRODUCT, thought(wanted=True, then=says("391")), thinking=True),
    Case("thinking", "thinking off", _PRODUCT, thought(wanted=False, then=says("391")), thinking=False),
    Case("thinking", "thinking on a budget", _PRODUCT, thought(wanted=True, then=says("391")), thinking=64),
    Case(
        "thinking",
        "a call while thinking",
        _PARIS,
        thought(wanted=True, then=called("get_weather", "18", city="Paris")),
        _WEATHER,
        thinking=True,
    ),
    Case("schemas", "an object", "Ann is 31 years old. Who is it?", is_object(Guest("Ann", 31)), output=Guest),
    Case(
        "schemas",
        "a list in an object",
        "Ann, 31, and Bo, 28, are in a good mood. Who is there?",
        is_object(Party([Guest("Ann", 31), Guest("Bo", 28)], "good")),
        output=Party,
    ),
    *(
        Case("languages", name, question, in_language(city, script), _WEATHER)
        for name, question, city, script in _LANGUAGES
    ),
    Case("images", "a red square", "Which colour is this square?", says("red"), image=True),
    Case("limits", "cut at 16 tokens", "Tell a long story.", cut, thinking=False, tokens=16),
    Case("long context", "found in 4,000 tokens", _NEEDLE, says("48213"), filler=4000),
    Case("long context", "found in 20,000 tokens", _NEEDLE, says("48213"), filler=20000),
)
