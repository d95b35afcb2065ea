"""Runs the live checks of ``qianda doctor --full`` on a real model, through the same agent as everything else."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Literal

from qianda.agents.agent import Agent
from qianda.agents.limits import Limits
from qianda.agents.result import RunResult
from qianda.cli.live_cases import CASES, Case
from qianda.models.errors import QiandaError, ServerUnreachable
from qianda.models.family import Sampling, find_family
from qianda.models.listening import one_slot
from qianda.models.messages import MediaPart, TextPart
from qianda.models.probes import Finding, red_square
from qianda.models.resolve import Endpoint
from qianda.models.thinking import Thinking

FULL_SECONDS = 15 * 60.0
CASE_SECONDS = 120.0
SIDE_BY_SIDE = 4
_LIMITS = Limits(turns=6, tool_calls=12)  # what a good model needs is half of that
_TOKENS, _THINKING_TOKENS = 1_024, 8_192  # of one reply: a weak model may ramble on until the window is full
_LEAST_WINDOW = 8_192  # of a server that does not say
_REST = 4_000  # tokens for the answer, and what the estimate of a text is off by
_STOPPED = "stopped before it was its turn"
_LINE = "The harbour was quiet that morning, and nobody on the pier had anything to say about it. "
_LINE_TOKENS = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one live check came out.

    Args:
        name: the check.
        about: its group.
        status: ``skip`` for what this model or server does not have.
        seen: what was wrong or why it was skipped; "" when it passed.
        seconds: how long it took.
        tokens: output tokens.
    """

    name: str
    about: str
    status: Literal["pass", "fail", "skip"]
    seen: str = ""
    seconds: float = 0.0
    tokens: int = 0

    @property
    def line(self) -> str:
        """The outcome on one line."""
        took = f" ({self.seconds:.1f} s)" if self.status != "skip" else ""
        return f"{self.about}: {self.name}{took}{': ' + self.seen if self.seen else ''}"


async def run_checks(
    endpoint: Endpoint,
    findings: Sequence[Finding],
    *,
    begin: Callable[[Case, int], None],
    tell: Callable[[Outcome], None],
) -> tuple[list[Outcome], bool]:
    """Run all, some side by side where the server works on several requests, for fifteen minutes at most.

    Ctrl+C, a server that is gone and the end of the time leave what there is; the rest counts as skipped.

    Args:
        endpoint: the server and model.
        findings: what the probes found; what is not there is skipped.
        begin: hears of each check as it begins, and how many are done.
        tell: hears of each outcome as it comes.

    Returns:
        The outcomes, in the order of the checks, and whether somebody stopped it.
    """
    slots = asyncio.Semaphore(1 if one_slot(endpoint) else SIDE_BY_SIDE)
    done: dict[str, Outcome] = {}
    ends: list[str] = []

    def end(why: str) -> None:
        ends.append(why)
        checking.cancel()

    async def check(case: Case) -> None:
        async with slots:
            begin(case, len(done))
            if why := _skipped(case, endpoint, findings):
                outcome = Outcome(name=case.name, about=case.about, status="skip", seen=why)
            else:
                outcome, gone = await _check(case, endpoint)
                if gone:
                    end("the server is gone")
        done[case.name] = outcome
        tell(outcome)

    checking = asyncio.gather(*map(check, CASES))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, end, _STOPPED)
    try:
        async with asyncio.timeout(FULL_SECONDS):
            await checking
    except TimeoutError:
        end(f"the {FULL_SECONDS / 60:.0f} minutes were up")
    except asyncio.CancelledError:
        if not ends:
            raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    rest = (Outcome(name=case.name, about=case.about, status="skip", seen="".join(ends[:1])) for case in CASES)
    return [done.get(outcome.name, outcome) for outcome in rest], _STOPPED in ends


def _skipped(case: Case, endpoint: Endpoint, findings: Sequence[Finding]) -> str:
    """Why a check does not apply, "" when it does."""
    thinking = find_family(endpoint.model).thinking
    if case.image and not any(one.check == "images" and one.status == "ok" for one in findings):
        return "images are not taken"
    if case.thinking and thinking == "none":
        return "the model does not think"
    if case.thinking is False and case.about == "thinking" and thinking == "only":
        return "the model always thinks"
    room = endpoint.window or _LEAST_WINDOW
    return f"the window has {room:,} tokens" if case.filler and case.filler + _REST > room else ""


def _thinking(case: Case, endpoint: Endpoint) -> Thinking | None:
    """The thinking that a check runs with: off where it does not matter and can be."""
    hybrid = find_family(endpoint.model).thinking in ("on", "off")
    if not case.thinking:
        return Thinking(enabled=False) if hybrid else None
    return Thinking() if case.thinking is True else Thinking(budget=case.thinking)


async def _check(case: Case, endpoint: Endpoint) -> tuple[Outcome, bool]:
    """The outcome of one, and whether the server is gone."""
    started = time.monotonic()
    result: RunResult[Any] | None = None
    tokens = 0
    gone = False
    try:
        async with asyncio.timeout(CASE_SECONDS):
            for prompt in (case.prompts,) if isinstance(case.prompts, str) else case.prompts:
                result = await _run(case, endpoint, prompt, result)
                tokens += result.usage.output_tokens
        assert result is not None
        seen = case.verdict(result)
    except QiandaError as error:
        seen = error.message
        gone = isinstance(error, ServerUnreachable)
    except TimeoutError:
        seen = f"not done after {CASE_SECONDS:.0f} s"
    seconds = time.monotonic() - started
    status = "fail" if seen else "pass"
    return Outcome(name=case.name, about=case.about, status=status, seen=seen, seconds=seconds, tokens=tokens), gone


async def _run(case: Case, endpoint: Endpoint, prompt: str, before: RunResult[Any] | None) -> RunResult[Any]:
    thinking = _thinking(case, endpoint)
    thinks = find_family(endpoint.model).thinks(thinking.on if thinking else None) is not False
    with TemporaryDirectory(prefix="qianda-doctor-") as folder:
        agent = Agent(
            server=endpoint,
            tools=case.tools,
            thinking=thinking,
            sampling=Sampling(max_tokens=case.tokens or (_THINKING_TOKENS if thinks else _TOKENS)),
            limits=_LIMITS,
            streaming=case.streaming,
            output_type=case.output,
            workspace=folder,
        )
        text = _with_filler(prompt, case.filler)
        image = MediaPart(type="image", url=f"data:image/png;base64,{red_square()}")
        content = (image, TextPart(text)) if case.image else text
        return await agent.run(content, history=before.messages if before else ())


def _with_filler(prompt: str, tokens: int) -> str:
    """The prompt behind so many tokens of text with a number hidden a third of the way."""
    if not tokens:
        return prompt
    lines = [_LINE] * (tokens // _LINE_TOKENS)
    lines.insert(len(lines) // 3, "The secret number is 48213. ")
    return f"{''.join(lines)}\n\n{prompt}"
