"""Makes a vLLM say what a test wants: a v1 logits processor that forces the tokens of a scripted reply one by one.

vLLM is started with ``--logits-processors scripted_tokens:ScriptedTokens``, this folder in ``PYTHONPATH``, and the path
of the script in ``SCRIPTED_TOKENS``: JSON, from a marker that stands in a prompt to the replies that follow it, each
``{"thought": …, "text": …}`` or ``{"raw": …}``; ``"held"`` is the text where a grammar holds the reply. What is said
then passes the real sampler, detokenizer, parsers and writer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vllm.v1.sample.logits_processor import (  # pyright: ignore[reportMissingImports] -- in vLLM's environment only
    AdapterLogitsProcessor,
)

_ASSISTANT = "<|im_start|>assistant\n"
_AHEAD = 8


def reply_to(prompt: str, script: dict[str, list[dict[str, str | None]]], *, held: bool) -> str | None:
    """The scripted reply to a rendered prompt, with its thinking as the prompt's end wants it; None without a script.

    Args:
        prompt: as the chat template rendered it. The last marker in it counts, and how many replies follow it.
        script: from marker to replies.
        held: a grammar holds the reply.
    """
    at, marker = max(((prompt.rfind(marker), marker) for marker in script), default=(-1, ""))
    if at < 0:
        return None
    head, _, begun = prompt[at:].rpartition(_ASSISTANT)
    turn, turns = head.count(_ASSISTANT), script[marker]
    if turn >= len(turns):
        return "(the script ran out)"
    if (raw := turns[turn].get("raw")) is not None:
        return raw
    thought, text = turns[turn].get("thought"), turns[turn].get("text") or ""
    text = (held and turns[turn].get("held")) or text
    if thought is None or "</think>" in begun:
        return text
    opening = "" if "<think>" in begun else "<think>\n"
    return f"{opening}{thought}\n</think>\n\n{text}"


class ScriptedTokens(AdapterLogitsProcessor):  # pyright: ignore[reportUntypedBaseClass] -- vLLM is not installed here
    """Forces the reply; a grammar wins over it: of what is next, the first token that it allows is taken."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        from transformers import AutoTokenizer  # pyright: ignore[reportMissingImports] -- in vLLM's environment only

        super().__init__(vllm_config, device, is_pin_memory)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(vllm_config.model_config.tokenizer)
        self._end_of_thought: int = self._tokenizer.convert_tokens_to_ids("</think>")
        self._path = Path(os.environ["SCRIPTED_TOKENS"])

    def is_argmax_invariant(self) -> bool:
        """It changes which token is the likeliest."""
        return False

    def new_req_logits_processor(self, params: Any) -> Any:
        """The processor of one request: it learns the prompt with the first token."""
        held = params.structured_outputs is not None
        tokens: list[int] = []
        begun = False
        given = 0

        def force(prompt_ids: list[int], output_ids: list[int], logits: Any) -> Any:
            nonlocal begun, given
            if not output_ids:
                given = 0  # a long prompt comes in parts, and only the last one's token counts
            elif output_ids[-1] == self._end_of_thought and self._end_of_thought in tokens[given:]:
                # The server's thinking budget came before the script's end of the thinking.
                given = tokens.index(self._end_of_thought, given) + 1
            if not begun:
                begun = True
                script = json.loads(self._path.read_text(encoding="utf-8"))
                reply = reply_to(self._tokenizer.decode(prompt_ids), script, held=held)
                if reply is not None:
                    tokens.extend(self._tokenizer.encode(reply, add_special_tokens=False))
                    tokens.append(self._tokenizer.eos_token_id)
            for at in range(given, min(given + _AHEAD, len(tokens))):
                if logits[tokens[at]] > float("-inf"):
                    likely = logits[tokens[at]].clone()
                    logits.fill_(float("-inf"))
                    logits[tokens[at]] = likely
                    given = at + 1
                    break
            return logits

        return force
