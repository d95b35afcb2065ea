"""Asks the person in the editor: approvals as permissions, questions of tools as forms, or as choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from acp import AcceptElicitationResponse, ElicitationFormSessionMode, ElicitationSchema
from acp.schema import AllowedOutcome, PermissionOption, PermissionOptionKind, ToolCallUpdate

from qianda.agents.plan import ACCEPT, PLAN_ANSWERS, REJECT
from qianda.cli.acp_server.calls import Shown, ShownCall, said
from qianda.cli.terminal import clean
from qianda.tools.permissions import ApprovalRequest, Decision
from qianda.tools.questions import Answer, Question, fill_in

if TYPE_CHECKING:
    from acp.interfaces import Client

    from qianda.cli.acp_server.updates import Screen

_LONGEST_RULE = 500  # a rule that is not seen whole is not saved
_NO, _WHY = "no", "no-because"
_UNASKED = (
    "(The user's editor has no place for this question. Ask it in your answer and end there; "
    "the user's next message answers it.)"
)
_Choice = tuple[str, str, PermissionOptionKind]


class Person:
    """Who sits at the editor.

    Args:
        client: the editor.
        session: whose questions these are.
        forms: whether the editor can show forms.
        screen: what it shows of the session now.
    """

    def __init__(self, client: Client, session: str, *, forms: bool, screen: Callable[[], Screen]) -> None:
        self._client, self._session, self._forms, self._screen = client, session, forms, screen

    async def approve(self, request: ApprovalRequest) -> Decision:
        """Whether a call may run; the least that can be said comes first."""
        screen = self._screen()
        call = await screen.asked(request)
        choices: list[_Choice] = [
            (_NO, "No", "reject_once"),
            *self._explained("No, and say why"),
            ("once", "Yes, once", "allow_once"),
            ("session", "Yes, this very call in this session", "allow_always"),
        ]
        if request.rule and len(request.rule) <= _LONGEST_RULE:
            choices.append(("rule", f"Yes, always in this folder: {_line(request.rule)}", "allow_always"))
        before = call.preview()
        match await self._choose(call, [*before, *said(clean(request.reason))], choices):
            case "once" | "session" | "rule" as scope:
                await screen.update(call, "in_progress", before)
                return Decision.allow("session" if scope == "session" else "rule" if scope == "rule" else "once")
            case "no-because":
                return Decision.deny(await self._words(call, "Why not? The model is told.") or "")
            case _:
                return Decision.deny()

    async def ask(self, question: Question) -> Answer:
        """What a tool wants to know."""
        call = await self._screen().asked(question)
        if question.options == PLAN_ANSWERS:
            choices: list[_Choice] = [(REJECT, REJECT, "reject_once"), *self._explained("Reject it, and say why")]
            choices.append((ACCEPT, ACCEPT, "allow_once"))
            plan = said(clean(question.question.rpartition("\n")[0]))
            answer = await self._choose(call, plan, choices, title="Carry out this plan?")
            return await self._words(call, "What is wrong with the plan?") if answer == _WHY else answer
        if self._forms:
            return await self._form(call, question)
        if not question.options and question.schema is None:
            return _UNASKED

        async def pick(text: str, options: tuple[str, ...]) -> str | None:
            return await self._pick(call, text, options) if options else None

        return await fill_in(question, pick)

    def _explained(self, text: str) -> list[_Choice]:
        return [(_WHY, text, "reject_once")] if self._forms else []

    async def _pick(self, call: ShownCall, text: str, options: Sequence[str]) -> str | None:
        """One of several answers, by the editor's way of asking for permissions."""
        choices: list[_Choice] = [(str(n), _line(option), "allow_once") for n, option in enumerate(options)]
        choices.append((_NO, "None of these", "reject_once"))
        answer = await self._choose(call, said(clean(text)), choices, title=_line(text))
        return None if answer in (None, _NO) else options[int(answer)]

    async def _choose(
        self, call: ShownCall, content: Sequence[Shown], choices: Sequence[_Choice], *, title: str = ""
    ) -> str | None:
        """The id of what the person chose; None when the question was cancelled."""
        update = ToolCallUpdate(
            tool_call_id=call.id,
            title=title or call.title,
            kind=call.kind,
            status="pending",
            content=list(content),
            locations=call.files,
            raw_input=call.given,
        )
        options = [PermissionOption(option_id=name, name=text, kind=kind) for name, text, kind in choices]
        answer = await self._client.request_permission(self._session, update, options)
        return answer.outcome.option_id if isinstance(answer.outcome, AllowedOutcome) else None

    async def _words(self, call: ShownCall, question: str) -> str | None:
        """A text of the person's own."""
        answer = await self._elicit(call, question, {"text": {"type": "string", "title": question}})
        return (str(answer.get("text") or "") or None) if answer else None

    async def _form(self, call: ShownCall, question: Question) -> Answer:
        """A form that is filled in, or a text."""
        if question.schema is not None:
            fields, needed = question.schema.get("properties", {}), question.schema.get("required", [])
            return await self._elicit(call, question.question, fields, needed)
        if not question.options:
            return await self._words(call, question.question)
        choice = {"type": "string", "title": "Choose", "enum": list(question.options)}
        other = {"type": "string", "title": "Or say it in other words"}
        answer = await self._elicit(call, question.question, {"choice": choice, "other": other})
        return answer and (answer.get("other") or answer.get("choice") or None)

    async def _elicit(
        self, call: ShownCall, question: str, fields: dict[str, Any], needed: Sequence[str] = ()
    ) -> dict[str, Any] | None:
        form = ElicitationSchema.model_validate({"type": "object", "properties": fields, "required": list(needed)})
        mode = ElicitationFormSessionMode(session_id=self._session, tool_call_id=call.id, requested_schema=form)
        answer = await self._client.create_elicitation(clean(question), mode)
        return answer.content or {} if isinstance(answer, AcceptElicitationResponse) else None


def _line(text: str) -> str:
    return clean(text).replace("\n", "\\n")
