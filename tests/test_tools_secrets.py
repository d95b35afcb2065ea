"""Keys stay out of what tools are given, and out of what models, records and events get from tools."""

from __future__ import annotations

import hashlib
import json
import random
import string
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda import Agent, tool
from qianda.models.config import user_config_path
from qianda.models.events import to_json
from qianda.models.messages import MediaPart, TextPart
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import Context, run_command, secrets, write_file
from qianda.tools.secrets import clean_environment, know_secrets, redact, redact_content

HEX = "0123456789abcdef"
KEYS = {
    "sk-" + HEX * 2: "API key",
    "sk-proj-" + "aB3_-x9" * 6: "API key",
    "AKIAIOSFODNN7EXAMPLE": "AWS key",
    "LTAI5tAbCdEfGh1234567890": "Alibaba Cloud key",
    "ghp_" + "a1B2" * 9: "GitHub token",
    "github_pat_" + "11ABCDEFG0123456789_abc": "GitHub token",
    "glpat-" + "x1y2z3" * 4: "GitLab token",
    "xoxb-123456789012-abcdef": "Slack token",
    "AIza" + "Sy4Bc" * 7: "Google key",
    "hf_" + "aB1" * 12: "Hugging Face token",
    "npm_" + "aB12" * 9: "npm token",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.SflKxwRJSMeKKF2QT4fw": "signed token",
}  # fmt: skip
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\nAAAA=\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", {})


@pytest.mark.parametrize(("key", "name"), KEYS.items(), ids=list(KEYS.values()))
def test_a_key_is_known_by_its_shape(key: str, name: str) -> None:
    assert redact(f'{{"key": "{key}"}} x={key}, {key}\n') == '{{"key": "{0}"}} x={0}, {0}\n'.format(
        f"[secret {name} kept out]"
    )


def test_a_private_key_is_kept_out_whole() -> None:
    assert redact(f"a\n{PEM}\nb") == "a\n[secret private key kept out]\nb"
    assert "b3Blbn" not in redact(PEM[:60])  # cut off, as the head of a long output


def test_what_looks_ordinary_stays() -> None:
    ordinary = "\n".join(
        [
            *(hashlib.new(kind, b"x").hexdigest() for kind in ("md5", "sha1", "sha256", "sha512")),
            str(uuid.UUID(int=7 << 90)),
            "task-sk-learn.estimator sk-estimator-doc-link-long sk-toggleable__content-arrow",
            "desk-0123456789012345678901234567890 disk-aaaaaaaaaaaaaaaaaaaaaaaaa1234",
            "integrity sha512-" + "Zm9vYmFy" * 11 + "==",
            "ASIAN MARKETS, hf_hub_download(repo), npm_config_cache, gho_st, eyJ",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nssh-rsa AAAAB3NzaC1yc2E me@here",
        ]
    )
    assert redact(ordinary) == ordinary


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_ .\n", max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_known_values_are_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "correct horse battery")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key-file.json")
    monkeypatch.setenv("SORT_KEY", "name")
    user_config_path().parent.mkdir(parents=True)
    user_config_path().write_text('[api_keys]\n"http://gpu" = "plain-looking-words"\n')
    (tmp_path / ".env").write_text("# ours\nexport DB_SECRET='from the env file'\nDEBUG=a long ordinary value\n")
    know_secrets(tmp_path, ["given-to-the-agent", None])
    said = redact(
        "correct horse battery, plain-looking-words, from the env file, given-to-the-agent; "
        "/home/me/key-file.json, name, a long ordinary value"
    )
    assert said == (
        "[secret SHOP_PASSWORD kept out], [secret api_keys.http gpu kept out], [secret DB_SECRET kept out], "
        "[secret API key kept out]; /home/me/key-file.json, name, a long ordinary value"
    )


def test_variables_are_kept_from_programs_by_name_and_by_value() -> None:
    given_ = {
        "PATH": "/bin",
        "MY_TOKEN": "1",
        "GH_PAT": "1",
        "ODD": "sk-" + HEX * 2,
        "DATABASE_URL": "postgres://me:pass@host/db",
        "HOME_PAGE": "https://example.com/a:b@c",
    }
    kept = clean_environment(given_)
    assert {name for name in given_ if name in kept} == {"PATH", "HOME_PAGE"}


def test_parts_are_redacted_and_media_stay() -> None:
    image = MediaPart("image", "data:image/png;base64,sk-" + HEX * 2)
    assert redact_content((TextPart("sk-" + HEX * 2), image)) == (TextPart("[secret API key kept out]"), image)


async def test_neither_model_nor_record_nor_events_get_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "swordfish-swordfish"
    monkeypatch.setenv("VAULT_TOKEN", secret)

    @tool
    def look(context: Context) -> str:
        """Look."""
        context.progress(f"reading {secret}")
        return f"the vault opens with {secret}"

    @tool
    def fail() -> str:
        """Fail."""
        raise ValueError(f"{secret} is wrong")

    async with ScriptedServer(Turn(calls=[Call("look"), Call("fail")]), "done") as server:
        agent = Agent(server=server.url, tools=[look, fail], journal=tmp_path / "journal.db")
        async with agent.stream("Look") as run:
            events = [to_json(event) async for event in run]
        sent = json.dumps(server.requests)
    assert "[secret VAULT_TOKEN kept out]" in sent
    recorded = b"".join(path.read_bytes() for path in tmp_path.glob("journal.db*"))  # noqa: ASYNC240 - the run is over
    for place in (sent, str(events), recorded.decode(errors="replace")):
        assert secret not in place


async def test_a_placeholder_is_not_written_over_a_secret(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("key = sk-" + HEX * 2)
    arguments = {"path": "settings", "content": "key = [secret API key kept out]\nmore"}
    result = await write_file.call(arguments, Context(workspace=tmp_path))
    assert result.failed
    assert "the secret would be lost" in str(result.content)
    assert (tmp_path / "settings").read_text() == "key = sk-" + HEX * 2


async def test_what_a_command_prints_is_redacted(tmp_path: Path) -> None:
    printed = await run_command.call({"command": f"echo sk-{HEX}{HEX}"}, Context(workspace=tmp_path))
    assert printed.content == "[secret API key kept out]\n[exit code 0]"


def test_a_megabyte_costs_little() -> None:
    secrets._known.update({f"value-number-{number:03}": f"NAME{number}" for number in range(20)})
    text = "".join(random.Random(1).choices(string.ascii_letters + string.digits + " \n-_", k=1_000_000))
    begin = time.process_time()
    for _ in range(5):
        redact(text)
    assert (time.process_time() - begin) / 5 < 0.2  # 10 ms when nothing else runs
