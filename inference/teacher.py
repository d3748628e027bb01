"""A teacher explains the plays that post-training learns from: its prompt is an example's context and choice with the
true answer, and it writes one sentence on why this user would choose that artwork. `marquee train reasoning --teacher
VERSION` trains a student on the reasons, which are in `teacher_reasons`.

The teacher is a checkpoint with the manifest that `marquee models manifest` writes. The prompt is plain text, as in
scoring. All reasons of one teacher for one day are written in one commit at the end; a rerun
generates them again and replaces them by the same. Settings: MARQUEE_….
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import islice
from typing import Any

from deltalake import DeltaTable

from inference.checkpoint import Checkpoint
from inference.engine import Engine, Refusal, StartEngine, max_model_len
from inference.progress import ScoringProgress
from inference.tokens import Tokens
from schemas import store
from schemas.contract import ContractError
from schemas.erased import erasing
from schemas.events import report
from schemas.settings import Settings
from schemas.tables import IMPRESSIONS, POST_TRAINING_EXAMPLES, TEACHER_REASONS

log = logging.getLogger("marquee.teacher")

REQUEST = "In one sentence, without naming its {label}, explain why this user would choose that artwork.\n"
OPENING = "Because"
"""First word of every reason. It ends the prompt, so that a model that ignores requests still continues a reason."""

_KEY = IMPRESSIONS.key
# Outcomes of the plays; a reason that was cut off at the limit also counts as a reason.
_COUNTED = ("reasons", "cut_off", "empty", "refused", "too_long")


class Teaching:
    """The reasons of one teacher for the plays of one day. `reason_tokens` is in the teacher's tokens."""

    def __init__(self, ds: date, config: Settings, teacher: Checkpoint, reason_tokens: int) -> None:
        self.ds, self.config, self.teacher = ds, config, teacher
        self.tokens = Tokens(teacher)
        # The limit is for the whole line: its first word, the teacher's text, and the line break.
        self.most = reason_tokens - len(self.tokens.ids(OPENING)) - 1
        if self.most < 1:
            raise ContractError(
                f"--reason-tokens is {reason_tokens}, which leaves nothing after {OPENING!r}; 48 is a good value"
            )
        self.counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))

    def teach(self, limit: int, start: StartEngine) -> None:
        """Generate and write the reasons for the first `limit` plays, or for all if it is 0.

        Raises ContractError if the day has no play.
        """
        remedy = "run the step examples for that day first"
        opened = store.open_table(self.config.warehouse, POST_TRAINING_EXAMPLES, remedy=remedy)
        self.counts["plays"] = sum(1 for _ in plays(opened, self.ds, [], limit))
        if not self.counts["plays"]:
            raise ContractError(
                f"{POST_TRAINING_EXAMPLES.name}: no training example that was played for ds={self.ds}; {remedy}"
            )
        engine = start(self.teacher, self.config, self.tokens.labels)
        # At most one sentence per training example (a setting limits them): some 50 MB.
        played = plays(opened, self.ds, [*_KEY, "context", "choice", "shown"], limit)
        rows = list(self.reasons(engine, played))
        warehouse, version = self.config.warehouse, self.teacher.version
        store.create(warehouse, TEACHER_REASONS)
        store.replace_rows(warehouse, TEACHER_REASONS, rows, ds=self.ds, model_version=version)

    def reasons(self, engine: Engine, played: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows of `teacher_reasons`, in the order in which the engine finishes them. Plays without one are counted."""
        ends = self.tokens.ends_of_line()
        with ScoringProgress(self.counts["plays"], ("explaining", "explained", "plays")) as progress:
            for (play, length), text in engine.texts(self._prompts(played, progress), self.most, ends):
                if isinstance(text, Refusal):
                    if not self.counts["refused"]:
                        log.warning("the engine refused a play of user %s: %s", play["user_id"], text.reason)
                    self.counts["refused"] += 1
                    progress.add(1)
                    continue
                progress.add(1, length, text.cached_tokens)
                reason = reason_of(self.tokens, text.ids)
                if reason is None:
                    self.counts["empty"] += 1
                    continue
                self.counts["reasons"] += 1
                self.counts["cut_off"] += text.ids[-1] not in ends
                about = {column: play[column] for column in _KEY}
                yield {"ds": self.ds, **about, "model_version": self.teacher.version, "reason": reason}
        progress.log()

    def _prompts(
        self, played: Iterable[dict[str, Any]], progress: ScoringProgress
    ) -> Iterator[tuple[tuple[dict[str, Any], int], list[int]]]:
        """((play, length of its prompt), prompt) of each play."""
        room = max_model_len(self.teacher, self.config) - self.most
        for play in played:
            prompt = teacher_prompt(self.tokens, play, room)
            if prompt is None:
                self.counts["too_long"] += 1
                progress.add(1)
            else:
                yield (play, len(prompt)), prompt


def plays(examples: DeltaTable, ds: date, columns: list[str], limit: int) -> Iterator[dict[str, Any]]:
    """`columns` of the first `limit` training examples that were played; of all if it is 0."""
    rows = store.stored_rows(examples, POST_TRAINING_EXAMPLES, [*columns, "played"], ds=ds, split="training")
    return islice((row for row in rows if row["played"]), limit or None)


def teacher_prompt(tokens: Tokens, play: dict[str, Any], room: int) -> list[int] | None:
    """Context, choice, the true answer, the request and the reason's first word, in at most `room` tokens.

    A prompt that is too long loses its oldest history, as in scoring; None if it is too long even without history.
    """
    answered = tokens.form.put_in(play["choice"]) + tokens.form.tokens[play["shown"] - 1]
    request = tokens.ids(f"{answered}\n{REQUEST.format(label=tokens.form.word)}{OPENING}")
    beginning = tokens.context(play["context"]).within(room - len(request))
    return None if beginning is None else beginning + request


def reason_of(tokens: Tokens, ids: list[int]) -> str | None:
    """The reason that begins in the prompt and continues with `ids`, as one line; None if it has no words."""
    line = tokens.text([*tokens.ids(OPENING), *ids]).partition("\n")[0]
    # Line breaks of other kinds and runs of spaces become one space.
    reason = " ".join(line.split())
    return reason if any(map(str.isalnum, reason.removeprefix(OPENING))) else None


def teach(
    ds: date,
    teacher: Checkpoint,
    config: Settings,
    reason_tokens: int,
    limit: int = 0,
    start: StartEngine = Engine,
) -> dict[str, int]:
    """Write a teacher's reasons for the plays of `ds`; report and return the counts."""
    work = Teaching(ds, config, teacher, reason_tokens)
    with erasing(config.warehouse):
        work.teach(limit, start)
    counts = {name: work.counts[name] for name in ("plays", *_COUNTED)}
    message = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    report("reasons", f"{teacher.version}: {message}", counts=counts)
    return dict(work.counts)
