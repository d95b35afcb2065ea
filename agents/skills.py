"""Skills: folders with a SKILL.md, of which the model sees a line each and reads what it needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qianda.models.config import user_config_path
from qianda.models.errors import ToolError
from qianda.models.messages import ToolSchema
from qianda.tools.context import Context
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool
from qianda.tools.validation import parse_arguments

_FRONT = re.compile(r"---[ \t]*\r?\n(?P<front>.*?)\r?\n---[ \t]*(?:\r?\n|\Z)(?P<body>.*)", re.DOTALL)
_KEY = re.compile(r"(?P<key>[A-Za-z][\w-]*):[ \t]*(?P<value>.*)")
_LONGEST = 500  # characters of a description in the prompt
_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "The skill"},
        "file": {"type": "string", "description": "A file of the skill, as it names it; left out: the skill itself"},
    },
    "required": ["name"],
}


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that is there.

    Args:
        name: what it is called.
        description: when to use it.
        path: its SKILL.md.
        problem: why it is not used, or "".
    """

    name: str
    description: str
    path: Path
    problem: str = ""


def list_skills(workspace: Path) -> list[Skill]:
    """The user's skills and those of the workspace, which come first where a name is twice."""
    from qianda.tools.trust import is_trusted

    own, brought = user_config_path().with_name("skills"), workspace / ".qianda" / "skills"
    found: dict[str, Skill] = {}
    listed: list[Skill] = []
    for folder in (own, brought):
        for path in sorted(folder.glob("*/SKILL.md")):
            skill = read_skill_file(path)
            if not skill.problem and folder == brought and not is_trusted(workspace):
                skill = Skill(skill.name, skill.description, path, "not used until qianda trust")
            if skill.problem:
                listed.append(skill)
            else:
                found[skill.name] = skill
    return [*found.values(), *listed]


def read_skill_file(path: Path) -> Skill:
    """The name and description in the front matter of a SKILL.md; what is wrong with it is its ``problem``."""
    try:
        front, _ = split_front(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        return Skill(path.parent.name, "", path, f"cannot be read: {error}")
    name, description = front.get("name") or path.parent.name, " ".join(front.get("description", "").split())
    problem = "" if description else "its front matter has no description"
    return Skill(name, description[:_LONGEST], path, problem)


def split_front(text: str) -> tuple[dict[str, str], str]:
    """The front matter of a Markdown file, and the rest of it."""
    found = _FRONT.match(text)
    return (_front_matter(found["front"]), found["body"]) if found else ({}, text)


def _front_matter(text: str) -> dict[str, str]:
    """The top keys of a block of YAML whose values are texts, also folded over lines; what lies deeper is left out."""
    values: dict[str, list[str]] = {}
    key = ""
    for line in text.splitlines():
        if found := _KEY.fullmatch(line.rstrip()):
            key, value = found["key"], found["value"].strip()
            values[key] = [] if re.fullmatch(r"[|>][+-]?", value) else [value]
        elif key and line[:1] in (" ", "\t", ""):
            values[key].append(line.strip())
    joined = {key: "\n".join(parts).strip() for key, parts in values.items()}
    return {
        key: value[1:-1] if re.fullmatch(r"(['\"]).*\1", value, re.DOTALL) else value for key, value in joined.items()
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadSkill(Tool):
    """The tool that reads a skill.

    Args:
        skills: those that may be read, by name.
    """

    skills: dict[str, Skill] = field(default_factory=dict[str, Skill])
    name: str = "read_skill"
    read_only: bool = True
    consent: bool = True
    max_output: int = 40_000

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters."""
        return ToolSchema(self.name, "Read a skill before you do what it is for.", _PARAMETERS)

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse the arguments.

        Raises:
            ToolError: there is no such skill.
        """
        arguments = parse_arguments(self.name, text, _PARAMETERS, extra=False)
        if arguments["name"] not in self.skills:
            raise ToolError(f"There is no skill {arguments['name']!r}. Skills: {', '.join(self.skills)}")
        return arguments

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:  # noqa: ARG002 - of the face
        """Read it.

        Raises:
            ToolError: the file is not there, or is no text.
        """
        skill = self.skills[arguments["name"]]
        folder = skill.path.parent.resolve()
        path = (folder / (arguments.get("file") or "SKILL.md")).resolve()
        if folder not in path.parents or not path.is_file():
            raise ToolError(f"The skill {skill.name} has no file {arguments['file']!r}. Files: {_files(folder)}")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ToolError(f"{path.name} is no text; it lies in {path}") from error
        if path.name != "SKILL.md":
            return ToolResult(text)
        return ToolResult(f"{split_front(text)[1].strip()}\n\n[folder: {folder}; files: {_files(folder)}]")


def _files(folder: Path) -> str:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return ", ".join(path.relative_to(folder).as_posix() for path in paths[:100])


def skills_text(skills: list[Skill]) -> str:
    """What goes into the instructions: a line each."""
    lines = "\n".join(f"- {skill.name}: {skill.description}" for skill in skills)
    return f"Skills, each to be read by read_skill before you do what it is for:\n{lines}"
