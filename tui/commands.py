"""What can be done in the chat: one table for slash commands, keys, the help screen and the palette."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to do.

    Args:
        name: the word behind the slash, or "" for what only a key does.
        text: what it does, in English, for the help and the completion.
        does: ``action:NAME`` of the app (with the argument, where ``takes`` says that there is one), or
            ``MODULE:CLASS``: a screen of ``qianda.tui.screens`` to open.
        keys: Textual's names of its keys.
        shown: what the keys are called, for people.
        takes: what may stand behind the word, such as "[NAME]".
        group: the heading that help and palette show it under.
    """

    name: str
    text: str
    does: str
    keys: tuple[str, ...] = ()
    shown: str = ""
    takes: str = ""
    group: str = "Program"


CONVERSATION, LOOK, SETTINGS = "Conversation", "Look", "Models, tools and settings"
"""Groups; what has none is of the program."""

COMMANDS = (
    Command("", "stop the run", "action:stop", ("escape",), "Esc", group=CONVERSATION),
    Command("clear", "begin a new conversation", "action:clear", group=CONVERSATION),
    Command("history", "find what was sent before", "action:history", ("ctrl+f",), "Ctrl+F", "[TEXT]", CONVERSATION),
    Command("attach", "send a file or an image with the prompt", "action:attach", takes="PATH", group=CONVERSATION),
    Command(
        "", "write the prompt in your own editor", "action:edit_outside", ("ctrl+g",), "Ctrl+G", group=CONVERSATION
    ),
    Command("", "queue the prompt until the run ends", "action:queue", ("ctrl+q",), "Ctrl+Q", group=CONVERSATION),
    Command("sessions", "earlier conversations", "sessions:SessionsScreen", ("f2",), "F2", group=CONVERSATION),
    Command("rewind", "back to an earlier prompt, with files or without", "rewind:RewindScreen", group=CONVERSATION),
    Command("resume", "go on with a run that was interrupted", "action:resume", group=CONVERSATION),
    Command("compact", "make the conversation shorter", "action:compact", group=CONVERSATION),
    Command("context", "what fills the model's window", "context:ContextScreen", ("f10",), "F10", group=LOOK),
    Command("plan", "the plan, and plan mode", "plan:PlanScreen", ("f6",), "F6", group=LOOK),
    Command("changes", "files that were changed, and undo", "changes:ChangesScreen", ("f7",), "F7", group=LOOK),
    Command("trace", "what happened, step by step", "trace:TraceScreen", ("f9",), "F9", group=LOOK),
    Command("", "fold or open all thinking", "action:fold_thinking", ("ctrl+t",), "Ctrl+T", group=LOOK),
    Command("", "fold or open all results of tools", "action:fold_results", ("ctrl+o",), "Ctrl+O", group=LOOK),
    Command("", "fold or open the lowest card on the screen", "action:fold_card", ("f8",), "F8", group=LOOK),
    Command("copy", "copy code: under the mouse, or the last", "action:copy_code", ("ctrl+l",), "Ctrl+L", group=LOOK),
    Command("find", "find text in the conversation; without one: no marks", "action:find", takes="[TEXT]", group=LOOK),
    Command("", "the place of the text before", "action:find_next", ("ctrl+n",), "Ctrl+N", group=LOOK),
    Command("", "the place of the text after", "action:find_after", ("alt+n",), "Alt+N", group=LOOK),
    Command("columns", "differences side by side or in one column", "action:split_diffs", group=LOOK),
    Command("help", "every key and command", "help:HelpScreen", ("f1",), "F1"),
    Command("palette", "find a command by some letters of it", "palette:PaletteScreen", ("ctrl+p",), "Ctrl+P"),
    Command("", "copy the selection; twice: leave", "action:interrupt", ("ctrl+c",), "Ctrl+C"),
    Command("", "back to the shell; fg goes on", "action:suspend_process", ("ctrl+z",), "Ctrl+Z"),
    Command("models", "models and servers: switch, thinking", "models:ModelsScreen", ("f3",), "F3", group=SETTINGS),
    Command("model", "go on with another model", "action:model", takes="[NAME]", group=SETTINGS),
    Command("thinking", "on, off, default, low, high …, or tokens", "action:thinking", takes="[HOW]", group=SETTINGS),
    Command("connect", "find or name a model server", "first_run:ConnectScreen", group=SETTINGS),
    Command("theme", "colours: each is shown at once", "action:theme", takes="[NAME]", group=SETTINGS),
    Command("tools", "tools, rules and permissions", "tools:ToolsScreen", ("f5",), "F5", group=SETTINGS),
    Command("mcp", "MCP servers: state, tools, log, approval", "mcp:McpScreen", ("f4",), "F4", group=SETTINGS),
    Command("mode", "what runs unasked: ask, edits …", "action:mode", (), "Shift+Tab", "[MODE]", SETTINGS),
    Command("trust", "what this folder brings, and trusting it", "trust:TrustScreen", group=SETTINGS),
    Command("", "look for a model again", "action:open_again", ("ctrl+r",), "Ctrl+R"),
    Command("quit", "leave", "action:leave"),
)
"""Everything but the editor's own keys."""

ALIASES: Mapping[str, str] = MappingProxyType({"exit": "quit", "new": "clear"})
LAST = frozenset({"escape", "ctrl+f", "ctrl+g", "ctrl+q"})
"""Keys that the prompt, a pane or a screen may take first."""

EDITOR_KEYS = (
    ("Enter", "send; while the model works: steer it"),
    ("Shift+Enter, Ctrl+J", "a new line"),
    ("Ctrl+_, Ctrl+Y", "undo, redo"),
    ("Up, Down", "at the edges: what was sent before"),
    ("@", "a file, a folder or a resource goes with the prompt"),
    ("/", "commands, skills and prompts of servers"),
    ("!", "a shell command of yours; !! without telling the model"),
    ("PageUp, PageDown", "scroll; the mouse wheel too"),
    ("Mouse", "drag selects; click: fold, open a link"),
    ("Ctrl+D", "leave, when the prompt is empty"),
)
"""What the prompt and the mouse do, for the help screen."""


def command_named(word: str) -> Command | None:
    """The command behind a slash, or None."""
    word = ALIASES.get(word, word)
    return next((command for command in COMMANDS if word and command.name == word), None)
