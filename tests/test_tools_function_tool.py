"""Calling tools: reading arguments, running, failing, timing out, and what the model gets to read."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from qianda.models.errors import ConfigurationError, ToolError
from qianda.models.messages import MediaPart, TextPart
from qianda.tools import Context, ToolResult, as_tool, tool

IMAGE = MediaPart("image", "data:image/png;base64,AA==")


@dataclass
class Point:
    x: int
    y: int = 0


class Model(BaseModel):
    name: str


@tool
async def book(city: str, nights: int = 1, point: Point | None = None, when: date | None = None) -> str:
    """Book a room."""
    return f"{city} {nights} {point} {when!r}"


def error_of(text: str) -> str:
    with pytest.raises(ToolError) as caught:
        book.read_arguments(text)
    return str(caught.value)


async def text_of(value: Any) -> Any:
    @tool
    async def give() -> Any:
        return value

    return (await give.call({}, Context())).content


def test_a_tool_is_still_the_function() -> None:
    @tool
    def double(a: int) -> int:
        """Twice."""
        return 2 * a

    assert double(4) == 8
    assert double.__doc__ == "Twice."
    assert list(inspect.signature(double).parameters) == ["a"]
    assert as_tool(double) is double


async def test_an_async_tool_is_still_the_function() -> None:
    assert await book("Oslo", nights=2) == "Oslo 2 None None"


def test_handing_over_a_function_is_consent_but_the_built_in_tools_have_none() -> None:
    from qianda.tools import files, shell

    assert as_tool(lambda_free).consent
    assert book.consent
    assert not any(item.consent for item in [*files(), *shell()])


def test_what_changes_files_waits_for_its_turn() -> None:
    from qianda.tools import files, shell

    assert {item.name for item in [*files(), *shell()] if not item.parallel} == {
        "write_file",
        "edit_file",
        "move_file",
        "run_command",
        "jobs",
    }


def lambda_free() -> None:
    """A plain function."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"city": "Oslo", "nights": 2}', {"city": "Oslo", "nights": 2}),
        ('{"city": "Oslo", "nights": "2"}', {"city": "Oslo", "nights": 2}),
        ('{"City": "Oslo"}', {"city": "Oslo"}),
        ('{"city": "Oslo", "when": null}', {"city": "Oslo", "when": None}),
        ('{"city": "Oslo", "point": "{\\"x\\": 3}"}', {"city": "Oslo", "point": {"x": 3}}),
    ],
)
def test_arguments_are_read_and_coerced(text: str, expected: dict[str, Any]) -> None:
    assert book.read_arguments(text) == expected


def test_arguments_stay_json() -> None:
    arguments = book.read_arguments('{"city": "Oslo", "point": {"x": 1}, "when": "2026-01-02"}')
    assert json.loads(json.dumps(arguments)) == arguments


async def test_the_function_gets_python_values() -> None:
    arguments = book.read_arguments('{"city": "Oslo", "point": {"x": 1}, "when": "2026-01-02"}')
    result = await book.call(arguments, Context())
    assert result == ToolResult("Oslo 1 Point(x=1, y=0) datetime.date(2026, 1, 2)")


def test_one_sentence_says_what_is_missing_and_what_is_expected() -> None:
    @tool
    def read_it(path: str) -> None: ...

    with pytest.raises(ToolError) as caught:
        read_it.read_arguments("{}")
    assert str(caught.value) == 'read_it: "path" is missing; expected {"path": string}'


def test_unknown_arguments_are_named_with_the_close_one() -> None:
    sentence = error_of('{"city": "Oslo", "night": 3}')
    assert sentence.startswith('book: there is no argument "night" (did you mean "nights"?); expected {"city": string')


def test_wrong_types_are_named() -> None:
    sentence = error_of('{"city": "Oslo", "nights": "many", "point": {"y": 1}}')
    assert '"nights" should be a valid integer' in sentence
    assert "got 'many'" in sentence
    assert '"point.x" is missing' in sentence
    assert "\n" not in sentence


def test_no_object_at_all() -> None:
    assert error_of("[1, 2]").startswith("book: ")
    assert 'expected {"city": string' in error_of("[1, 2]")


def test_empty_arguments_of_a_tool_that_takes_none() -> None:
    assert as_tool(lambda_free).read_arguments("") == {}


def test_a_long_wrong_value_does_not_fill_the_sentence() -> None:
    assert len(error_of(json.dumps({"city": "Oslo", "nights": "x" * 10_000}))) < 500


async def test_a_call_with_wrong_arguments_is_a_result() -> None:
    result = await book.call({"nights": 1}, Context())
    assert result.failed
    assert 'book: "city" is missing' in str(result.content)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("", ""),
        (None, "done"),
        (3, "3"),
        (True, "true"),
        ([1, "ü"], '[1,"ü"]'),
        ({"a": Point(1)}, '{"a":{"x":1,"y":0}}'),
        (Model(name="千"), '{"name":"千"}'),
        ({"when": date(2026, 1, 2)}, '{"when":"2026-01-02"}'),
        (IMAGE, (IMAGE,)),
        (("see", IMAGE), (TextPart("see"), IMAGE)),
        ([IMAGE, {"a": 1}], (IMAGE, TextPart('{"a":1}'))),
        (ToolResult("own", failed=True), "own"),
        ("\ud800", "?"),
    ],
)
async def test_results(value: Any, expected: Any) -> None:
    assert await text_of(value) == expected


async def test_long_results_keep_head_and_tail() -> None:
    @tool(max_output=100)
    def long() -> str:
        return "a" * 5_000 + "b" * 5_000

    text = str((await long.call({}, Context())).content)
    head, middle, tail = text.split("\n")
    assert (head, tail) == ("a" * 50, "b" * 50)
    assert "9,900 of 10,000 characters left out" in middle
    assert "ask for a smaller part" in middle


async def test_texts_of_parts_share_the_cap_and_media_stay() -> None:
    @tool(max_output=10)
    def parts() -> Any:
        return "a" * 20, IMAGE, "b" * 20

    content = (await parts.call({}, Context())).content
    assert isinstance(content, tuple)
    assert content[1] == IMAGE
    assert "b" not in str(content[2]).partition("text=")[2][:3]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_exceptions_become_one_sentence_without_traceback(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("no such city\nsecond line")

    async def fail_async() -> None:
        fail()

    with caplog.at_level(logging.DEBUG, "qianda.tools"):
        result = await as_tool(fail if kind == "sync" else fail_async).call({}, Context())
    name = "fail" if kind == "sync" else "fail_async"
    assert result == ToolResult(f"{name} failed: ValueError: no such city", failed=True)
    assert caplog.records[0].exc_info is not None


async def test_a_tool_says_itself_what_went_wrong() -> None:
    @tool
    def fail() -> None:
        raise ToolError("no such city", cure="Ask for another")

    assert await fail.call({}, Context()) == ToolResult("no such city. Ask for another", failed=True)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(), ExceptionGroup("many", [KeyError("x")])])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_strange_exceptions_do_not_get_out(error: BaseException, kind: str) -> None:
    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    result = await as_tool(fail if kind == "sync" else fail_async).call({}, Context())
    assert result.failed
    assert "many" not in str(result.content)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_timeouts(kind: str) -> None:
    release = threading.Event()

    @tool(timeout=0.05)
    def hang() -> None:
        release.wait(30)

    @tool(timeout=0.05, name="hang")
    async def hang_async() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(50):
        result = await (hang if kind == "sync" else hang_async).call({}, Context())
    release.set()
    assert result.failed
    assert str(result.content).startswith("hang did not finish within 0.05 s and was ")


async def test_a_timeout_error_of_the_tool_is_its_own() -> None:
    @tool
    async def fail() -> None:
        raise TimeoutError("the database took too long")

    assert str((await fail.call({}, Context())).content) == "fail failed: TimeoutError: the database took too long"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_cancellation_propagates(kind: str) -> None:
    started = asyncio.Event()
    release = threading.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(30)

    async def hang_async() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(as_tool(hang if kind == "sync" else hang_async).call({}, Context()))
    async with asyncio.timeout(50):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    release.set()


async def test_a_cancelled_wait_inside_the_tool_is_a_failure_not_a_cancellation() -> None:
    @tool
    async def fail() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    result = await fail.call({}, Context())
    assert result.failed
    assert "was cancelled" in str(result.content)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_context_is_given_and_progress_arrives_on_the_loop(kind: str) -> None:
    seen: list[tuple[str, threading.Thread]] = []
    context = Context(run_id="r", value=7, progress=lambda text: seen.append((text, threading.current_thread())))

    def show(a: int, given: Context) -> str:
        given.progress("half")
        return f"{a} {given.run_id} {given.value}"

    async def show_async(a: int, given: Context) -> str:
        return show(a, given)

    result = await as_tool(show if kind == "sync" else show_async).call({"a": 1}, context)
    assert result.content == "1 r 7"
    assert seen == [("half", threading.current_thread())]


async def test_a_thread_that_was_given_up_is_not_heard_any_more() -> None:
    seen: list[str] = []
    release, spoken = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @tool(timeout=0.05)
    def hang(context: Context) -> None:
        release.wait(30)
        context.progress("too late")
        loop.call_soon_threadsafe(spoken.set)

    assert (await hang.call({}, Context(progress=seen.append))).failed
    release.set()
    async with asyncio.timeout(50):
        await spoken.wait()
    assert seen == []


async def test_positional_only_and_further_arguments() -> None:
    @tool
    def mixed(a: int, context: Context, b: int = 2, /, *, c: int = 3, **more: int) -> list[Any]:
        return [a, context.run_id, b, c, more]

    assert (await mixed.call({"a": 1, "z": 5}, Context(run_id="r"))).content == '[1,"r",2,3,{"z":5}]'
    with pytest.raises(ToolError):
        mixed.read_arguments("{}")


async def test_bound_methods_are_tools() -> None:
    class Shop:
        def price(self, article: str) -> str:
            return f"{article}: 3"

    assert (await as_tool(Shop().price).call({"article": "tea"}, Context())).content == "tea: 3"


def test_a_hanging_sync_tool_never_holds_up_the_exit() -> None:
    code = inspect.cleandoc(
        """
        import asyncio, threading
        from qianda.tools import Context, tool

        @tool(timeout=0.05)
        def hang():
            threading.Event().wait()

        print(asyncio.run(hang.call({}, Context())).content)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert "may still be running" in done.stdout
    assert done.stderr == ""


async def test_a_generator_streams_its_texts_as_progress_and_its_result_is_what_it_returns_or_yields_last() -> None:
    def returns() -> Generator[Any, None, int]:
        yield "half"
        yield "whole"
        return 7

    def yields() -> Generator[Any]:
        yield "half"
        yield {"n": 7}

    async def yields_async() -> AsyncGenerator[Any]:
        yield "half"
        yield {"n": 7}

    class Counter:
        async def __call__(self, to: int = 2) -> AsyncGenerator[str]:
            for number in range(to):
                yield str(number)

    def nothing() -> Generator[str]:
        yield from ()

    for function, content, progress in [
        (returns, "7", ["half", "whole"]),
        (yields, '{"n":7}', ["half"]),
        (yields_async, '{"n":7}', ["half"]),
        (Counter(), "1", ["0", "1"]),
        (nothing, "done", []),
    ]:
        seen: list[str] = []
        result = await as_tool(function).call({}, Context(progress=seen.append))
        await asyncio.sleep(0)  # what a thread said last is delivered by then
        assert (result.content, seen) == (content, progress)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_generator_that_is_given_up_is_closed(kind: str) -> None:
    go_on, closed = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @tool(timeout=0.05)
    def endless() -> Generator[str]:
        try:
            while True:
                go_on.wait(30)
                yield "more"
        finally:
            loop.call_soon_threadsafe(closed.set)

    @tool(timeout=0.05, name="endless")
    async def endless_async() -> AsyncGenerator[str]:
        try:
            yield "more"
            await asyncio.Event().wait()
        finally:
            closed.set()

    result = await (endless if kind == "sync" else endless_async).call({}, Context())
    go_on.set()
    async with asyncio.timeout(50):
        await closed.wait()
    assert "did not finish within 0.05 s" in str(result.content)


async def test_methods_partials_and_objects_are_tools() -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @tool
        def price(self, article: str) -> str:
            """What it costs."""
            return f"{self.name}: {article} 3"

        @tool
        @classmethod
        async def open_days(cls, week: int) -> str:
            return f"{cls.__name__} {week}"

        @tool
        @staticmethod
        def tax(amount: int) -> int:
            return amount // 5

        def __call__(self, article: str, count: int = 1) -> str:
            """Buy it.

            Args:
                article: what.
            """
            return f"{count} {article} from {self.name}"

    def area(width: int, height: int, *, unit: str) -> str:
        """Area of a field."""
        return f"{width * height} {unit}"

    shop = Shop("Tea & Co")
    made: list[tuple[Any, dict[str, Any], str]] = [
        (shop.price, {"article": "tea"}, "Tea & Co: tea 3"),
        (Shop.open_days, {"week": 3}, "Shop 3"),
        (shop.open_days, {"week": 3}, "Shop 3"),
        (Shop.tax, {"amount": 10}, "2"),
        (shop, {"article": "tea", "count": 2}, "2 tea from Tea & Co"),
        (partial(shop, count=5), {"article": "tea"}, "5 tea from Tea & Co"),
        (partial(area, 2, unit="m²"), {"height": 3}, "6 m²"),
    ]
    for function, arguments, content in made:
        item = as_tool(function)
        assert set(item.schema.parameters["properties"]) == set(arguments)
        assert (await item.call(arguments, Context())).content == content
    assert shop.price("tea") == "Tea & Co: tea 3"
    assert as_tool(shop).name == "Shop"
    assert as_tool(shop).schema.description == "Buy it."
    assert as_tool(partial(area, 2)).schema.description == "Area of a field."
    assert as_tool(partial(area, 2)).name == "area"
    with pytest.raises(ConfigurationError, match="method without its object"):
        _ = Shop.price.schema


async def test_a_path_is_shown_when_it_can_be_seen_and_told_when_not(tmp_path: Path) -> None:
    plot, table = tmp_path / "plot.png", tmp_path / "table.csv"
    plot.write_bytes(b"\x89PNG")
    table.write_text("a,b")

    class Picture:
        def _repr_png_(self) -> bytes:
            return b"\x89PNG"

    image = MediaPart("image", "data:image/png;base64,iVBORw==")
    assert await text_of(plot) == (image,)
    assert await text_of(table) == str(table)
    assert await text_of(tmp_path / "gone.png") == str(tmp_path / "gone.png")
    assert await text_of(["two", plot, table]) == (TextPart("two"), image, TextPart(str(table)))
    assert await text_of(Picture()) == (image,)
