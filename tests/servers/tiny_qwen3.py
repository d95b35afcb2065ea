"""Write a Qwen3 of two layers with random weights beside the real tokenizer: what vLLM serves in the tests.

Usage: python tiny_qwen3.py FOLDER_OF_THE_TOKENIZER FOLDER_OF_THE_MODEL, in an environment with torch and transformers.
"""

import shutil
import sys
from pathlib import Path


def main(tokenizer: Path, model: Path) -> None:
    """Write configuration, weights and tokenizer.

    Args:
        tokenizer: folder with tokenizer.json and tokenizer_config.json (which holds the chat template).
        model: the folder to write.
    """
    import torch  # pyright: ignore[reportMissingImports] -- in vLLM's environment only
    from transformers import (  # pyright: ignore[reportMissingImports] -- in vLLM's environment only
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    torch.manual_seed(0)
    configuration = Qwen3Config(
        vocab_size=151936,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
        bos_token_id=151643,
        eos_token_id=151645,
    )
    model.mkdir(parents=True, exist_ok=True)
    Qwen3ForCausalLM(configuration).to(torch.bfloat16).save_pretrained(model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, model / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
