"""Skills: found, named in the prompt, read when they are needed, and those of a folder only once it is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda import load_agent
from qianda.agents.loading import remembered
from qianda.agents.skills import list_skills, read_skill_file
from qianda.models.config import user_config_path
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools.trust import trust, what_folder_brings

RELEASE = "---\nname: release\ndescription: How to release\nmetadata:\n  version: 1\n---\nRun the tests first.\n"


def skill(folder: Path, name: str, text: str = RELEASE) -> Path:
    path = folder / name / "SKILL.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def own() -> Path:
    return user_config_path().with_name("skills")


async def test_the_model_sees_a_line_and_reads_the_rest() -> None:
    skill(own(), "release").with_name("steps.txt").write_text("one, two")
    calls = [
        Call("read_skill", {"name": "release"}),
        Call("read_skill", {"name": "release", "file": "steps.txt"}),
        Call("read_skill", {"name": "release", "file": "../../config.toml"}),
        Call("read_skill", {"name": "other"}),
    ]
    async with ScriptedServer(Turn(calls=calls), "done") as server:
        await load_agent("assistant", server=server.url).run("Release it")
    prompt = server.requests[0]["messages"][0]["content"]
    assert "- release: How to release" in prompt
    assert "Run the tests" not in prompt
    body, file, outside, other = [message["content"] for message in server.requests[1]["messages"][-4:]]
    assert body.startswith("Run the tests first.")
    assert "steps.txt" in body
    assert file == "one, two"
    assert "has no file" in outside
    assert "Skills: release" in other


def test_without_skills_there_is_neither_line_nor_tool() -> None:
    agent = load_agent("assistant")
    assert "read_skill" not in agent.tools
    assert "Skills" not in agent.instructions


def test_those_of_a_folder_are_used_once_it_is_trusted() -> None:
    skill(Path.cwd() / ".qianda/skills", "release")
    assert what_folder_brings(Path.cwd()) == [".qianda/skills/release/SKILL.md: skill release"]
    told, tools, notices = remembered("", Path.cwd())
    assert (told, tools) == ("", [])
    assert "not used until qianda trust" in notices[0]
    trust(Path.cwd())
    assert "release" in remembered("", Path.cwd())[0]
    skill(own(), "mine", RELEASE.replace("How to release", "My way"))
    assert [found.description for found in list_skills(Path.cwd())] == ["How to release"]


@pytest.mark.parametrize(
    ("text", "description", "problem"),
    [
        ('---\nname: a\ndescription: "Quoted: yes"\n---\n', "Quoted: yes", ""),
        ("---\ndescription: >-\n  over\n  lines\nname: a\n---\nbody", "over lines", ""),
        ("---\r\nname: a\r\ndescription: x\r\n---\r\nbody", "x", ""),
        ("no front matter", "", "its front matter has no description"),
        ("---\nname: a\n---\nbody", "", "its front matter has no description"),
    ],
)
def test_front_matter(text: str, description: str, problem: str) -> None:
    path = Path("a/SKILL.md")
    path.parent.mkdir()
    path.write_bytes(text.encode())
    found = read_skill_file(path)
    assert (found.name, found.description, found.problem) == ("a", description, problem)


@given(st.text())
def test_any_file_is_a_skill_or_has_a_problem(text: str) -> None:
    path = Path("any/SKILL.md")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(f"---\n{text}\n---\n".encode("utf-8", "replace"))
    found = read_skill_file(path)
    assert bool(found.description) != bool(found.problem)
    assert "\n" not in found.description
