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

from examples.tiny_batches import CHOICES_PER_CONTEXT, Batch, Batches, Users
from examples.tiny_texts import CAPTIONED, Texts, training_texts
from examples.tiny_tokenizer import BEGIN_ID, END_ID, END_OF_TURN_ID, VOCABULARY, save_tokenizer, train_tokenizer
from examples.truth import TASTE
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
_WARM_UP = 50  # steps
# Long choices are rare in a catalogue; without drawing them more often, the model does not learn the numbers up to 40.
_LONG_SHARE = 0.25
_LONG_FROM = 0.5  # long choices begin when this share of the texts is in use
_THEMES = len(THEME_NAMES)
_LAYERS = 4
# First, captions and tastes are learned alone, of more users at less cost: there is nothing to match before both are
# known. Then everything is, until options' likings are; last, mainly the answer, which only now has them to read.
_PHASES = (0.2, 0.67)  # shares of the steps at which the second and third begin
_ANSWER_WEIGHTS = (0.0, 1.0, 5.0)
_LAST_RATE = 0.6  # where the rates begin again in the last phase, as a share of their peaks
_USERS = 24
# After these layers, hidden states are trained to express tastes and captions, and the liking of options.
_TASTE_LAYER, _LIKING_LAYER = 2, 3


@dataclass(frozen=True)
class Recipe:
    """The parameters that determine the checkpoint."""

    steps: int
    users: int
    titles: int
    seed: int


class Heads(nn.Module):
    """Linear heads on the hidden states between layers, for training only.

    Each is at the layer whose successor needs what it predicts: the third layer multiplies taste and themes, the last
    reads each option's liking and number.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.taste = nn.Linear(width, _THEMES)
        self.fetched = nn.Linear(width, _THEMES)
        self.captioned = nn.Linear(width, CAPTIONED)
        self.liking = nn.Linear(width, _THEMES)
        self.number = nn.Linear(width, MAX_ARTWORKS)


@dataclass(frozen=True)
class Losses:
    """Means over a batch. `gained`: the argmax's liking, on a scale from a random option (0) to the best (1)."""

    answer: Tensor
    liking: Tensor
    fetched: Tensor
    captioned: Tensor
    taste: Tensor
    number: Tensor
    gained: float

    def total(self, answer_weight: float) -> Tensor:
        parts = 3 * self.liking + 3 * self.fetched + self.captioned + 6 * self.taste + self.number
        return answer_weight * self.answer + parts


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
    rng = np.random.default_rng(recipe.seed)
    for step, batch in enumerate(_batches(services, recipe)):
        phase = phase_of(step, recipe.steps)
        if phase == 0:
            found = None
            caption_loss(worker, heads, batch).backward()
            taste_loss(worker, heads, services[step % len(services)].draw_users(rng, _USERS)).backward()
        else:
            found = losses(worker, heads, batch, labels)
            found.total(_ANSWER_WEIGHTS[phase]).backward()
        _move_gradients(worker, model)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
        worker.load_state_dict(model.state_dict())
        if found:
            progress.add(found, step + 1)


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
    captioned = heads.captioned(_normed(_at(choice_hidden[_TASTE_LAYER], batch.option_ends)))
    option_hidden = _normed(_at(choice_hidden[_LIKING_LAYER], batch.option_ends))
    fetched = heads.fetched(option_hidden)
    liking = heads.liking(option_hidden)
    last = _at(choice_hidden[-1], batch.choice_lengths[:, None] - 1)[:, 0]
    # Over the whole vocabulary, so that the model also learns to answer with a number.
    answer = model.lm_head(last).float().log_softmax(-1).gather(1, labels[batch.numbers])
    wanted = (batch.liking / SHARPNESS).masked_fill(~batch.options, -math.inf).softmax(-1)
    return Losses(
        answer=-(wanted * answer).sum(-1).mean(),
        liking=(liking - by_theme(batch)).square().sum(-1)[batch.options].mean(),
        fetched=(fetched - tastes_of_choices(batch)).square()[batch.options].mean(),
        captioned=(captioned - batch.captioned).square().sum(-1)[batch.options].mean(),
        taste=_taste_loss(heads, context_hidden, batch.users),
        number=_number_loss(heads.number(option_hidden), batch),
        gained=_gained(answer, batch),
    )


def caption_loss(model: LlamaForCausalLM, heads: Heads, batch: Batch) -> Tensor:
    """The losses of captions and numbers, on choices without contexts."""
    hidden = model.model(batch.choices, use_cache=False, output_hidden_states=True).hidden_states
    captioned = heads.captioned(_normed(_at(hidden[_TASTE_LAYER], batch.option_ends)))
    number = heads.number(_normed(_at(hidden[_LIKING_LAYER], batch.option_ends)))
    found: Tensor = (captioned - batch.captioned).square().sum(-1)[batch.options].mean() + _number_loss(number, batch)
    return found


def taste_loss(model: LlamaForCausalLM, heads: Heads, users: Users) -> Tensor:
    """The loss of tastes, on contexts without choices."""
    hidden = model.model(users.contexts, use_cache=False, output_hidden_states=True).hidden_states
    return 6 * _taste_loss(heads, hidden, users)


def _taste_loss(heads: Heads, context_hidden: tuple[Tensor, ...], users: Users) -> Tensor:
    taste: Tensor = heads.taste(_normed(_at(context_hidden[_TASTE_LAYER], users.line_ends)))
    return (taste - users.tastes[:, None]).square().mean()


def by_theme(batch: Batch) -> Tensor:
    """The user's taste for each theme of each option, times the theme's weight (N, K, 18): their sum is the liking."""
    return TASTE * tastes_of_choices(batch) * batch.captioned[..., :_THEMES]


def tastes_of_choices(batch: Batch) -> Tensor:
    """The taste of each choice's user, (N, 1, 18)."""
    return batch.users.tastes.repeat_interleave(CHOICES_PER_CONTEXT, dim=0)[:, None]


def _number_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the option's number at the option's end; logits (N, K, 40)."""
    return functional.cross_entropy(logits[batch.options], batch.numbers[batch.options])


def hidden_states(model: LlamaForCausalLM, batch: Batch) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Hidden states of contexts (C, P, width) and of choices (N, S, width), each choice after its context: before the
    first layer, after each, and, last, what the output layer reads.
    """
    context = model.model(
        batch.users.contexts,
        past_key_values=DynamicCache(config=model.config),
        use_cache=True,
        output_hidden_states=True,
    )
    cache = context.past_key_values
    cache.batch_repeat_interleave(CHOICES_PER_CONTEXT)
    lengths = batch.users.lengths.repeat_interleave(CHOICES_PER_CONTEXT)[:, None]
    is_context = torch.arange(batch.users.contexts.shape[1]) < lengths
    visible = torch.cat([is_context, torch.ones_like(batch.choices, dtype=torch.bool)], dim=1).long()
    choice = model.model(
        batch.choices,
        past_key_values=cache,
        attention_mask=visible,
        position_ids=lengths + torch.arange(batch.choices.shape[1]),
        use_cache=True,
        output_hidden_states=True,
    )
    return context.hidden_states, choice.hidden_states


def _normed(hidden: Tensor) -> Tensor:
    return functional.rms_norm(hidden.float(), hidden.shape[-1:])


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
    """Batches from short to long texts over half of the steps: short ones cost less and teach the same."""
    rng = np.random.default_rng(recipe.seed)
    for step in range(recipe.steps):
        shortest = min(1.0, 0.25 + 1.5 * step / recipe.steps)
        long = shortest > _LONG_FROM and rng.random() < _LONG_SHARE
        yield services[step % len(services)].draw(rng, shortest, long)


def phase_of(step: int, steps: int) -> int:
    """0, 1 or 2: see _PHASES."""
    return sum(step >= share * steps for share in _PHASES)


def _rate(step: int, steps: int) -> float:
    """A linear warm-up, then a cosine down to a fiftieth, and in the last phase another one."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    again = math.ceil(_PHASES[-1] * steps)
    if step < again:
        return _cosine((step - _WARM_UP) / max(1, again - _WARM_UP))
    return _LAST_RATE * _cosine((step - again) / max(1, steps - again))


def _cosine(done: float) -> float:
    return 0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2


def _config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=_LAYERS,
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

    def add(self, found: Losses, done: int) -> None:
        self._done = done
        self._since.append(
            [
                found.answer.item(),
                found.liking.item(),
                found.fetched.item(),
                found.captioned.item(),
                found.taste.item(),
                found.number.item(),
                found.gained,
            ]
        )
        if self._done % 25 == 0 or self._done == self._steps:
            answer, liking, fetched, captioned, taste, number, gained = np.mean(self._since, axis=0)
            self._since = []
            passed = time.monotonic() - self._began
            left = passed / self._done * (self._steps - self._done)
            self._console.print(
                f"step {self._done:>5}/{self._steps}  answer {answer:.3f}  liking {liking:.3f}  fetched {fetched:.3f}  "
                f"captions {captioned:.3f}  taste {taste:.3f}  number {number:.3f}  gained {gained:.2f}  "
                f"{passed:.0f} s, {left:.0f} s left"
            )
