"""Qianda (千答): the agent framework for Qwen.

::

    from qianda import Agent, tool

    @tool
    async def weather(city: str) -> str:
        \"\"\"Weather forecast for a city, named in any language.\"\"\"
        return "sunny"

    result = Agent(tools=[weather]).run_sync("Do I need an umbrella in Hangzhou?")
    print(result.output)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.agents.hooks import Hooks
    from qianda.agents.journal import Journal, open_journal
    from qianda.agents.limits import Limits
    from qianda.agents.loading import load_agent
    from qianda.agents.result import RunResult
    from qianda.agents.run import Run
    from qianda.agents.sessions import Session
    from qianda.models.errors import (
        ConfigurationError,
        ContextTooLong,
        JournalError,
        LimitReached,
        ModelOutputError,
        PermissionDenied,
        QiandaError,
        QuotaExceeded,
        ServerError,
        ServerOverloaded,
        ServerRefused,
        ServerUnreachable,
        ToolError,
    )
    from qianda.models.family import Sampling
    from qianda.models.messages import (
        AssistantMessage,
        MediaPart,
        Message,
        SystemMessage,
        TextPart,
        ToolCall,
        ToolMessage,
        Usage,
        UserMessage,
    )
    from qianda.models.thinking import Thinking
    from qianda.tools import Context, Tool, calculator, current_time, documents, files, images, python, shell, tool, web
    from qianda.tools.permissions import ApprovalRequest, Decision, Rules

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "ApprovalRequest",
    "AssistantMessage",
    "ConfigurationError",
    "Context",
    "ContextTooLong",
    "Decision",
    "Hooks",
    "Journal",
    "JournalError",
    "LimitReached",
    "Limits",
    "MediaPart",
    "Message",
    "ModelOutputError",
    "PermissionDenied",
    "QiandaError",
    "QuotaExceeded",
    "Rules",
    "Run",
    "RunResult",
    "Sampling",
    "ServerError",
    "ServerOverloaded",
    "ServerRefused",
    "ServerUnreachable",
    "Session",
    "SystemMessage",
    "TextPart",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolMessage",
    "Usage",
    "UserMessage",
    "calculator",
    "current_time",
    "documents",
    "files",
    "images",
    "load_agent",
    "open_journal",
    "python",
    "shell",
    "tool",
    "web",
]

# Names are imported when they are first asked for: the commands use modules below this one without the rest.
_HOMES = {
    "qianda.agents.agent": "Agent",
    "qianda.agents.hooks": "Hooks",
    "qianda.agents.journal": "Journal open_journal",
    "qianda.agents.limits": "Limits",
    "qianda.agents.loading": "load_agent",
    "qianda.agents.result": "RunResult",
    "qianda.agents.run": "Run",
    "qianda.agents.sessions": "Session",
    "qianda.models.errors": (
        "ConfigurationError ContextTooLong JournalError LimitReached ModelOutputError PermissionDenied "
        "QiandaError QuotaExceeded ServerError ServerOverloaded ServerRefused ServerUnreachable ToolError"
    ),
    "qianda.models.family": "Sampling",
    "qianda.models.messages": (
        "AssistantMessage MediaPart Message SystemMessage TextPart ToolCall ToolMessage Usage UserMessage"
    ),
    "qianda.models.thinking": "Thinking",
    "qianda.tools": "Context Tool calculator current_time documents files images python shell tool web",
    "qianda.tools.permissions": "ApprovalRequest Decision Rules",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qianda' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
