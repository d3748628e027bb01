"""Trains the tiny Llama from scratch (`marquee sample tiny-llama`): simulated users with known tastes, the texts that a
night renders for them (by Spark), a tokenizer, and some thousand steps of training on one core.

The answer alone is too weak a signal: one number per question, without a reason. So the model also learns from linear
heads that are discarded afterwards: at the end of a context's lines, the user's taste; at the end of each option, its
number, the themes and the style of its caption, and how much the user likes it. The target of the answer is the exact
distribution of a user with that taste, softmax(liking / SHARPNESS), not single plays.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from examples.tiny_batches import CHOICES_PER_CONTEXT, Batch, Batches
from examples.tiny_texts import Texts, training_texts
from examples.tiny_tokenizer import BEGIN_ID, END_ID, END_OF_TURN_ID, VOCABULARY, save_tokenizer, train_tokenizer
from examples.vocabulary import THEME_NAMES
from inference.checkpoint import read_checkpoint, write_manifest
from inference.tokens import Tokens
from schemas.tables import MAX_ARTWORKS
from spark_jobs.session import spark_session

FOLDER = Path(__file__).resolve().parent / "tiny_llama"
NAME = "tiny-llama"
SHARPNESS = 0.4
MAX_LENGTH = 4096
"""In tokens; a context of 40 titles and a choice of 40 artworks take about 1,700."""

_PEAK_RATE = 2.5e-3
_MUON_RATE = 5e-3
_WARM_UP = 100  # steps
# Long choices are rare in a catalogue; without drawing them more often, the model does not learn the numbers up to 40.
_LONG_SHARE = 0.25
_LONG_FROM = 0.5  # long choices begin when this share of the texts is in use
_THEMES = len(THEME_NAMES)


@dataclass(frozen=True)
class Recipe:
    """The parameters that determine the checkpoint."""

    steps: int
    users: int
    titles: int
    seed: int


class Heads(nn.Module):
    """Linear heads on hidden states, for training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.taste = nn.Linear(width, _THEMES)
        self.captioned = nn.Linear(width, _THEMES + 1)
        self.liking = nn.Linear(width, 1)
        self.number = nn.Linear(width, MAX_ARTWORKS)


@dataclass(frozen=True)
class Losses:
    """Means over a batch. `gained`: the argmax's liking, on a scale from a random option (0) to the best (1)."""

    answer: Tensor
    liking: Tensor
    captioned: Tensor
    taste: Tensor
    number: Tensor
    gained: float

    @property
    def total(self) -> Tensor:
        return self.answer + 3 * self.liking + self.captioned + 6 * self.taste + 0.3 * self.number


def make(to: Path | None, steps: int, users: int, titles: int, seed: int) -> None:
    """Make the checkpoint in the folder `to`, by default the repository's."""
    folder = to or FOLDER
    # With two threads on a busy machine, a step with matrices this small cost seven times the CPU time.
    torch.set_num_threads(1)
    recipe = Recipe(steps, users, titles, seed)
    console = Console()
    began = time.monotonic()
    with console.status("rendering texts with Spark"):
        spark = spark_session("tiny-llama", **{"spark.master": "local[2]", "spark.driver.memory": "3g"})
        texts = training_texts(spark, recipe.users, recipe.titles, recipe.seed)
        spark.stop()
    console.print(f"{sum(len(each.contexts) for each in texts):,} contexts, {time.monotonic() - began:.0f} s")
    make_checkpoint(folder, texts, recipe, console)
    console.print(f"{folder}: {read_checkpoint(folder).version}, {time.monotonic() - began:.0f} s in all")


def make_checkpoint(folder: Path, texts: list[Texts], recipe: Recipe, console: Console) -> None:
    """Train on `texts` and write the whole checkpoint to `folder`."""
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(_config())
    save_tokenizer(train_tokenizer(_lines(texts)), folder, MAX_LENGTH)
    model.save_pretrained(folder)
    tokens = Tokens(write_manifest(folder, NAME))
    train(model, texts, tokens, recipe, console)
    model.to(torch.bfloat16).save_pretrained(folder)  # type: ignore[arg-type]
    write_manifest(folder, NAME)


def train(model: LlamaForCausalLM, texts: list[Texts], tokens: Tokens, recipe: Recipe, console: Console) -> None:
    """Train `model` in place. A bfloat16 copy computes; the weights that are updated stay in float32."""
    services = [Batches(each, tokens.ids, tokens.labels) for each in texts]
    labels = torch.tensor(tokens.labels)
    heads = Heads(model.config.hidden_size)
    worker = copy.deepcopy(model).bfloat16()
    worker.set_attn_implementation("float32_sdpa")
    parameters = [*model.parameters(), *heads.parameters()]
    optimizers = _optimizers(model, heads)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: _rate(step, recipe.steps)) for each in optimizers]
    progress = _Progress(recipe.steps, console)
    for batch in _batches(services, recipe):
        found = losses(worker, heads, batch, labels)
        found.total.backward()
        _move_gradients(worker, model)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
        worker.load_state_dict(model.state_dict())
        progress.add(found)


def _optimizers(model: LlamaForCausalLM, heads: Heads) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, which learns attention in far fewer steps, AdamW for the rest."""
    inside = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    others = [weight for weight in model.parameters() if not any(weight is each for each in inside)]
    return [
        torch.optim.Muon(inside, lr=_MUON_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([*others, *heads.parameters()], lr=_PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def _move_gradients(worker: nn.Module, model: nn.Module) -> None:
    for computed, updated in zip(worker.parameters(), model.parameters(), strict=True):
        updated.grad = None if computed.grad is None else computed.grad.float()
        computed.grad = None


def losses(model: LlamaForCausalLM, heads: Heads, batch: Batch, labels: Tensor) -> Losses:
    """The five losses of a batch. A context is read once for all its choices, as with the prefix cache in scoring."""
    context_hidden, choice_hidden = hidden_states(model, batch)
    taste = heads.taste(_at(context_hidden, batch.line_ends).float())
    option_hidden = _at(choice_hidden, batch.option_ends).float()
    captioned, liking = heads.captioned(option_hidden), heads.liking(option_hidden)[..., 0]
    last = _at(choice_hidden, batch.choice_lengths[:, None] - 1)[:, 0]
    # Over the whole vocabulary, so that the model also learns to answer with a number.
    answer = model.lm_head(last).float().log_softmax(-1).gather(1, labels[batch.numbers])
    wanted = (batch.liking / SHARPNESS).masked_fill(~batch.options, -math.inf).softmax(-1)
    return Losses(
        answer=-(wanted * answer).sum(-1).mean(),
        liking=(liking - batch.liking).square()[batch.options].mean(),
        captioned=(captioned - batch.captioned).square().sum(-1)[batch.options].mean(),
        taste=(taste - batch.tastes[:, None]).square().mean(),
        number=_number_loss(heads.number(option_hidden), batch),
        gained=_gained(answer, batch),
    )


def _number_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the option's number at the option's end; logits (N, K, 40)."""
    return functional.cross_entropy(logits[batch.options], batch.numbers[batch.options])


def hidden_states(model: LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Last hidden states of contexts (C, P, width) and of choices (N, S, width), each choice after its context."""
    context = model.model(batch.contexts, past_key_values=DynamicCache(config=model.config), use_cache=True)
    cache = context.past_key_values
    cache.batch_repeat_interleave(CHOICES_PER_CONTEXT)
    lengths = batch.context_lengths.repeat_interleave(CHOICES_PER_CONTEXT)[:, None]
    is_context = torch.arange(batch.contexts.shape[1]) < lengths
    visible = torch.cat([is_context, torch.ones_like(batch.choices, dtype=torch.bool)], dim=1).long()
    choice = model.model(
        batch.choices,
        past_key_values=cache,
        attention_mask=visible,
        position_ids=lengths + torch.arange(batch.choices.shape[1]),
        use_cache=True,
    )
    return context.last_hidden_state, choice.last_hidden_state


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Torch's attention in float32: on a CPU, its backward pass takes several times as long in bfloat16."""
    output, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **options)
    return output.to(query.dtype), None


AttentionInterface.register("float32_sdpa", _attention)
AttentionMaskInterface.register("float32_sdpa", sdpa_mask)


def _at(hidden: Tensor, places: Tensor) -> Tensor:
    """Hidden states (N, S, width) at places (N, K): (N, K, width)."""
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))


def _gained(answer: Tensor, batch: Batch) -> float:
    chosen = answer.detach().masked_fill(~batch.options, -math.inf).argmax(-1, keepdim=True)
    best = batch.liking.masked_fill(~batch.options, -math.inf).amax(-1)
    random = (batch.liking * batch.options).sum(-1) / batch.options.sum(-1)
    got = batch.liking.gather(1, chosen)[:, 0]
    return float((got - random).mean() / (best - random).mean())


def _batches(services: list[Batches], recipe: Recipe) -> Iterator[Batch]:
    """Batches from short to long texts over three quarters of the steps: short ones cost less and teach the same."""
    rng = np.random.default_rng(recipe.seed)
    for step in range(recipe.steps):
        shortest = min(1.0, 0.25 + step / recipe.steps)
        long = shortest > _LONG_FROM and rng.random() < _LONG_SHARE
        yield services[step % len(services)].draw(rng, shortest, long)


def _rate(step: int, steps: int) -> float:
    """A linear warm-up, then a cosine down to a fiftieth."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    done = (step - _WARM_UP) / max(1, steps - _WARM_UP)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2


def _config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,  # the smallest that vLLM's attention supports on a CPU
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=BEGIN_ID,
        eos_token_id=END_OF_TURN_ID,
        pad_token_id=END_ID,
    )


def _lines(texts: list[Texts]) -> Iterator[str]:
    """Lines to train the tokenizer on; a part of the texts is enough."""
    for each in texts:
        for text in [*each.contexts[:1500], *(choice.text for choice in each.choices[::4])]:
            yield from text.splitlines(keepends=True)


class _Progress:
    """Prints the mean losses since the last line, every 25 steps."""

    def __init__(self, steps: int, console: Console) -> None:
        self._steps, self._console, self._began = steps, console, time.monotonic()
        self._done = 0
        self._since: list[list[float]] = []

    def add(self, found: Losses) -> None:
        self._done += 1
        self._since.append(
            [
                found.answer.item(),
                found.liking.item(),
                found.captioned.item(),
                found.taste.item(),
                found.number.item(),
                found.gained,
            ]
        )
        if self._done % 25 == 0 or self._done == self._steps:
            answer, liking, captioned, taste, number, gained = np.mean(self._since, axis=0)
            self._since = []
            passed = time.monotonic() - self._began
            left = passed / self._done * (self._steps - self._done)
            self._console.print(
                f"step {self._done:>5}/{self._steps}  answer {answer:.3f}  liking {liking:.3f}  "
                f"captions {captioned:.3f}  taste {taste:.3f}  number {number:.3f}  gained {gained:.2f}  "
                f"{passed:.0f} s, {left:.0f} s left"
            )
