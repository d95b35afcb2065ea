"""What the screen of MCP servers says of a server, a tool, a resource and a prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qianda.tools.effects import NO_EFFECTS
from qianda.tools.mcp.mcp_tool import MCPTool
from qianda.tools.mcp.offers import Offer
from qianda.tools.secrets import redact
from qianda.tools.tool import Tool
from qianda.tui.screens.detail import TextBlock, code, json_code
from qianda.tui.screens.items import Item, Tone
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.mcp import MCPToolset
    from qianda.tui.chat import Chat
    from qianda.tui.mcp_servers import Now, Server
    from qianda.tui.transcript.blocks import Block

TONES: dict[Now, Tone] = {
    "ready": "good",
    "connecting": "",
    "failed": "error",
    "broken": "error",
    "needs login": "warning",
    "tools changed": "warning",
    "not approved": "warning",
}
RUNS = {"allow": "runs", "ask": "asks", "deny": "denied"}
KINDS = {"resource": "resource", "template": "template", "prompt": "prompt"}
LOG_LINES = 40


def tools_of(toolset: MCPToolset | None, server: Server) -> list[MCPTool]:
    """The tools that the model has of a server."""
    tools = toolset.tools if toolset is not None and server.connection is not None else ()
    return [tool for tool in tools if isinstance(tool, MCPTool) and tool.connection is server.connection]


def server_item(server: Server, offers: Sequence[Offer] | str) -> Item[Server | Tool | Offer]:
    """A server's line."""
    connection = server.connection
    about = server.shown
    if connection is not None and connection.running is not None:
        about = " · ".join([*_counts(server, offers), *_versions(server)])
    elif connection is not None and connection.problem:
        about = connection.problem.removeprefix(f"MCP server {server.name!r} ")
    return Item(server.name, (server.name, t(server.now), about), server, TONES.get(server.now, "muted"))


def _counts(server: Server, offers: Sequence[Offer] | str) -> list[str]:
    tools = len(server.connection.tools) if server.connection is not None else 0
    prompts = 0 if isinstance(offers, str) else sum(offer.kind == "prompt" for offer in offers)
    resources = 0 if isinstance(offers, str) else len(offers) - prompts
    counted = (
        (tools, t("1 tool"), t("{count} tools", count=tools)),
        (resources, t("1 resource"), t("{count} resources", count=resources)),
        (prompts, t("1 prompt"), t("{count} prompts", count=prompts)),
    )
    return [one if count == 1 else many for count, one, many in counted if count]


def tool_item(tool: MCPTool, chat: Chat, server: str) -> Item[Server | Tool | Offer]:
    """A tool's line below its server's."""
    runs = ""
    if chat.agent is not None:
        runs = t(RUNS[chat.agent.permissions.judge(tool, {}, NO_EFFECTS).action])
    cells = (f"· {tool.wire_name}", f"{t('tool')}, {runs}", tool.schema.description)
    return Item(f"{server} {tool.name}", cells, tool)


def offer_item(offer: Offer) -> Item[Server | Tool | Offer]:
    """A resource's or prompt's line below its server's."""
    about = ": ".join(filter(None, [offer.title, offer.description]))
    cells = (f"· {offer.name}", t(KINDS[offer.kind]), about)
    return Item(f"{offer.server} {offer.kind} {offer.name}", cells, offer)


def tool_details(tool: Tool) -> list[Block]:
    """What a tool may do, as its server says, and its arguments."""
    traits = [
        *([t("believed to change nothing")] if tool.read_only else []),
        *([t("may destroy something")] if tool.destructive else []),
        *([t("reaches beyond this machine")] if tool.open_world else []),
    ]
    schema = tool.schema
    return [
        TextBlock(tool.name, "strong"),
        TextBlock(" · ".join(traits) or t("may change something"), "call-note"),
        TextBlock(schema.description),
        json_code(json.dumps(schema.parameters)),
    ]


def server_details(server: Server, tools: Sequence[MCPTool], offers: Sequence[Offer] | str) -> list[Block]:
    """All that is known of a server: its state, what it offers, what it wrote."""
    connection = server.connection
    blocks: list[Block] = [TextBlock(f"{server.name}: {t(server.now)}", "strong"), TextBlock(server.shown)]
    blocks.append(TextBlock(server.where, "call-note"))
    if todo := _todo(server.now):
        blocks.append(TextBlock(todo, "call-note"))
    if connection is None:
        return blocks
    if connection.problem:
        blocks.append(TextBlock(connection.problem, "call-failed-text"))
    if connection.running is not None:
        blocks.append(TextBlock(" · ".join(_versions(server))))
    blocks += [
        TextBlock(t("{tool} has changed and is not used; a shows how", tool=change.tool), "call-denied-text")
        for change in server.changes
    ]
    named = {t("Tools"): [tool.wire_name for tool in tools]}
    if isinstance(offers, str):
        blocks.append(TextBlock(offers, "call-failed-text"))
    else:
        for kind, title in (("resource", t("Resources")), ("template", t("Templates")), ("prompt", t("Prompts"))):
            named[title] = [offer.name for offer in offers if offer.kind == kind]
    lines = [f"{title}: {', '.join(names)}" for title, names in named.items() if names]
    blocks.append(TextBlock("\n".join(lines)))
    if log := connection.log.lines()[-LOG_LINES:]:
        blocks += [TextBlock(str(connection.log.path), "call-note"), code(redact("\n".join(log)))]
    if connection.running is not None and (said := connection.running.instructions):
        blocks += [TextBlock(t("What it tells those who use it:"), "call-note"), TextBlock(said)]
    return blocks


def _versions(server: Server) -> list[str]:
    """How it is spoken to, what it calls itself, and the protocol's revision."""
    connection = server.connection
    if connection is None or connection.running is None:
        return []
    spec, client = connection.server, connection.running
    how = "stdio" if spec.command else (spec.transport or "http") if spec.url else t("in this process")
    about = client.server_info
    return [how, *([f"{about.name} {about.version}"] if about is not None else []), client.protocol_version]


def _todo(now: Now) -> str:
    return {
        "not approved": t("It comes with this folder and does not run until you say so: a"),
        "needs login": t("It wants a login: l"),
        "disabled": t("It is switched off in the settings: e switches it on"),
        "off": t("It is off for now: e switches it on"),
        "hidden": t("Another of this name is used"),
    }.get(now, "")
