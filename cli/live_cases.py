"""The live checks of ``qianda doctor --full``: what a real model is asked, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from qianda.cli.live_verdicts import (
    Verdict,
    called,
    cut,
    in_language,
    is_object,
    says,
    thought,
    together,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One live check.

    Args:
        name: unique.
        about: the group that it belongs to.
        prompts: what the user says, one run each, in one conversation.
        verdict: of the last run.
        tools: what the model may call.
        thinking: on, off, a budget in tokens, or None for off where the model can.
        streaming: as SSE; else as one JSON document.
        tokens: bound of one reply, or None.
        output: the ``output_type`` of the answer.
        filler: tokens of text in front of the prompt, about.
        image: a red square comes with the prompt.
    """

    name: str
    about: str
    prompts: tuple[str, ...]
    verdict: Verdict
    tools: tuple[Callable[..., Any], ...] = ()
    thinking: bool | int | None = None
    streaming: bool = True
    tokens: int | None = None
    output: Any = str
    filler: int = 0
    image: bool = False


_CODE = 'print("a\\n", \'b\')  # {"x": [1]}'
# Language, question, the city as it may be spelt, and what an answer in that language holds.
_LANGUAGES = (
    ("English", "What is the weather in Vienna? Ask the tool.", "Vienna|Wien", "degrees|sunny|°"),
    ("Chinese", "北京现在天气怎么样？请用工具查询，用中文回答。", "北京|Beijing", "[一-鿿]"),
    ("Japanese", "大阪の天気はどうですか。ツールで調べて日本語で答えてください。", "大阪|Osaka", "[ぁ-んァ-ン]"),
    ("Korean", "부산의 날씨는 어때요? 도구로 찾아 한국어로 답해 주세요.", "부산|Busan", "[가-힣]"),
    ("Arabic", "ما هو الطقس في القاهرة؟ استخدم الأداة وأجب بالعربية.", "القاهرة|Cairo", "[ء-ي]"),
    ("Russian", "Какая погода в Казани? Спроси инструмент, ответь по-русски.", "Казан|Kazan", "[а-я]"),
    (
        "Spanish",
        "¿Qué tiempo hace en Córdoba? Usa la herramienta y responde en español.",
        "C[oó]rdoba",
        "grados|sole|°",
    ),
    ("Thai", "อากาศที่เชียงใหม่เป็นอย่างไร ใช้เครื่องมือแล้วตอบเป็นภาษาไทย", "เชียงใหม่|Chiang", "[ก-๙]"),
)


def cases() -> Iterator[Case]:
    """All of them, the quick ones first."""
    paris = "What is the weather in Paris? Ask the tool."
    weather = (get_weather,)
    yield Case(
        name="one call",
        about="calls",
        prompts=(paris,),
        tools=weather,
        verdict=called("get_weather", "18", city="Paris"),
    )
    yield Case(
        name="one call as JSON",
        about="calls",
        prompts=(paris,),
        tools=weather,
        streaming=False,
        verdict=called("get_weather", "18", city="Paris"),
    )
    yield Case(
        name="no call needed",
        about="calls",
        prompts=("What is the capital of France? You know it.",),
        tools=weather,
        verdict=says("Paris", calls=False),
    )
    yield Case(name="no tools", about="calls", prompts=("Say hello in one word.",), verdict=says("hello"))
    yield Case(
        name="calls in parallel",
        about="calls",
        prompts=("What is the weather in Paris and in Tokyo? Ask for both at once.",),
        tools=weather,
        verdict=together,
    )
    yield Case(
        name="one of a choice",
        about="calls",
        prompts=("What is the weather in Paris in fahrenheit? Ask the tool.",),
        tools=weather,
        verdict=called("get_weather", unit="fahrenheit"),
    )
    yield Case(
        name="no arguments",
        about="calls",
        prompts=("Which users are there? Ask the tool.",),
        tools=(list_users,),
        verdict=called("list_users", "Grace"),
    )
    yield Case(
        name="one of eight tools",
        about="calls",
        prompts=("Which id has the user Ada?",),
        tools=EVERY_TOOL,
        verdict=called("find_user", "7731", name="Ada"),
    )
    yield Case(
        name="a list of texts",
        about="arguments",
        prompts=("Mail 'Lunch' to a@x.org and b@x.org.",),
        tools=(send_mail,),
        verdict=called("send_mail", to=["a@x.org", "b@x.org"]),
    )
    yield Case(
        name="nested objects",
        about="arguments",
        prompts=("Plan a dinner at Roma for Ann, 31, and Bo, 28.",),
        tools=(plan_dinner,),
        verdict=called("plan_dinner", guests=[{"name": "Ann", "age": 31}, {"name": "Bo", "age": 28}]),
    )
    yield Case(
        name="numbers and switches",
        about="arguments",
        prompts=("Heat the kitchen to 20.5 degrees for 3 hours, quietly.",),
        tools=(set_heating,),
        verdict=called("set_heating", degrees=20.5, hours=3, quiet=True),
    )
    yield Case(
        name="Chinese and emoji",
        about="arguments",
        prompts=("Keep this note, word for word: 价格：¥42，谢谢 😀",),
        tools=(write_note,),
        verdict=called("write_note", text="价格：¥42，谢谢 😀"),
    )
    yield Case(
        name="code with quotes",
        about="arguments",
        prompts=(f"Keep this note, word for word: {_CODE}",),
        tools=(write_note,),
        verdict=called("write_note", text=_CODE),
    )
    yield Case(
        name="markup",
        about="arguments",
        prompts=("Keep this note, word for word: <b>R&D</b> </br>",),
        tools=(write_note,),
        verdict=called("write_note", text="<b>R&D</b> </br>"),
    )
    yield Case(
        name="one call after another",
        about="turns",
        prompts=("Find the user Ada, then tell me her balance.",),
        tools=(find_user, get_balance),
        verdict=called("get_balance", "4.?250", user_id="U-7731"),
    )
    yield Case(
        name="a call that fails",
        about="turns",
        prompts=("What is the weather in Atlantis? Ask the tool once.",),
        tools=weather,
        verdict=called("get_weather", "no|not|n't|unknown|exist", city="Atlantis"),
    )
    yield Case(
        name="what was said before",
        about="turns",
        prompts=(paris, "Which city did I ask about? Do not call a tool."),
        tools=weather,
        verdict=says("Paris", calls=False),
    )
    yield Case(
        name="a result asked about",
        about="turns",
        prompts=(paris, "And in Tokyo?"),
        tools=weather,
        verdict=called("get_weather", "18", city="Tokyo"),
    )
    product = "What is 17 times 23?"
    yield Case(
        name="thinking on",
        about="thinking",
        prompts=(product,),
        thinking=True,
        verdict=thought(wanted=True, then=says("391")),
    )
    yield Case(
        name="thinking off",
        about="thinking",
        prompts=(product,),
        thinking=False,
        verdict=thought(wanted=False, then=says("391")),
    )
    yield Case(
        name="thinking on a budget",
        about="thinking",
        prompts=(product,),
        thinking=64,
        verdict=thought(wanted=True, then=says("391")),
    )
    yield Case(
        name="a call while thinking",
        about="thinking",
        prompts=(paris,),
        tools=weather,
        thinking=True,
        verdict=thought(wanted=True, then=called("get_weather", "18", city="Paris")),
    )
    yield Case(
        name="an object",
        about="schemas",
        prompts=("Ann is 31 years old. Who is it?",),
        output=Guest,
        verdict=is_object(Guest("Ann", 31)),
    )
    yield Case(
        name="a list in an object",
        about="schemas",
        prompts=("Ann, 31, and Bo, 28, are in a good mood. Who is there?",),
        output=Party,
        verdict=is_object(Party([Guest("Ann", 31), Guest("Bo", 28)], "good")),
    )
    for language, question, city, script in _LANGUAGES:
        yield Case(
            name=language, about="languages", prompts=(question,), tools=weather, verdict=in_language(city, script)
        )
    needle = "What is the secret number that stands somewhere in this text? Answer with the number."
    yield Case(
        name="a red square", about="images", prompts=("Which colour is this square?",), image=True, verdict=says("red")
    )
    yield Case(
        name="cut at 16 tokens",
        about="limits",
        prompts=("Tell a long story.",),
        thinking=False,
        tokens=16,
        verdict=cut,
    )
    yield Case(
        name="found in 4,000 tokens", about="long context", prompts=(needle,), filler=4_000, verdict=says("48213")
    )
    yield Case(
        name="found in 20,000 tokens", about="long context", prompts=(needle,), filler=20_000, verdict=says("48213")
    )
