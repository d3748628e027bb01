"""A reason in words for one choice, when somebody asks (`marquee explain --reason`, and the page of `marquee browse`).

The teacher that the setting `teacher` names gets the question with the artwork that was shown as its answer, as in
inference/teacher.py, and writes one sentence afterwards: its own words, which may be wrong.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from inference.checkpoint import Checkpoint, read_checkpoint
from inference.engine import Engine, EngineError, StartEngine, Text, max_model_len
from inference.teacher import reason_of, teacher_prompt
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.exit_codes import RunError
from schemas.settings import PREFIX, Settings

_TOKENS = 64
_KEPT = 256


class Reasons:
    """Reasons by one teacher. Its engine starts with the first one, which may take a minute."""

    def __init__(self, teacher: Checkpoint, config: Settings, start: StartEngine = Engine) -> None:
        self.version = teacher.version
        self._teacher, self._config, self._start = teacher, config, start
        self._engine: Engine | None = None
        # One thread has the engine and answers one question after the other.
        self._thread = ThreadPoolExecutor(1)
        self.reason = lru_cache(_KEPT)(self._ask)

    @classmethod
    def of(cls, config: Settings, start: StartEngine = Engine) -> Reasons | None:
        """The reasons of the teacher that the settings name; None if they name none."""
        return cls(read_checkpoint(config.teacher), config, start) if config.teacher else None

    def _ask(self, context: str, choice: str, shown: int) -> str:
        """One sentence on why the user of `context` would choose option `shown`, from 1, of `choice`.

        Raises ContractError if the teacher has none, RunError if its engine does not start.
        """
        return self._thread.submit(self._write, context, choice, shown).result()

    def _write(self, context: str, choice: str, shown: int) -> str:
        tokens = Tokens(self._teacher)
        play = {"context": context, "choice": choice, "shown": shown}
        prompt = teacher_prompt(tokens, play, max_model_len(self._teacher, self._config) - _TOKENS)
        if prompt is None:
            raise ContractError(f"{self.version}: the question is too long for this teacher")
        try:
            self._engine = self._engine or self._start(self._teacher, self._config, tokens.labels)
        except EngineError as error:
            raise RunError(str(error)) from error
        text: Any
        ((_, text),) = self._engine.texts([(None, prompt)], _TOKENS, tokens.ends_of_line())
        reason = reason_of(tokens, text.ids) if isinstance(text, Text) else None
        if reason is None:
            raise ContractError(f"{self.version} wrote no reason: name another model ({PREFIX}TEACHER)")
        return reason


def reason_for(found: dict[str, Any], reasons: Reasons | None) -> str:
    """The teacher's reason for the choice that `serving.explain.explanation` found.

    Raises ContractError if there is no teacher, no question is kept, or the teacher has no reason.
    """
    if reasons is None:
        raise ContractError(
            f"{PREFIX}TEACHER names no model to ask for a reason: set it to a checkpoint's folder or URI"
        )
    question = found["question"]
    if question is None:
        raise ContractError("no question is kept for this choice, so no model can be asked why")
    shown = question["artwork_ids"].index(found["artwork_id"]) + 1
    return reasons.reason(question["context"], question["choice"], shown)
