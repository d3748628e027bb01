"""Every setting, read once from the environment (`MARQUEE_…`) into one typed object."""

from __future__ import annotations

import difflib
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.contract import ContractError
from schemas.paths import absolute_place, absolute_registry, is_uri, warehouse_place, without_password
from schemas.tables import MAX_ARTWORKS

_ROOT = Path(__file__).resolve().parent.parent
PREFIX = "MARQUEE_"

SignalName = Literal["play_rate", "taste_group"]
SIGNALS: tuple[str, ...] = get_args(SignalName)
"""What the setting `signals` may name."""
EstimatorName = Literal["replay", "ips", "clipped_ips", "snips", "dm", "dr", "switch_dr"]
"""The estimators of evaluation/estimators.py that need no truth."""
SliceName = Literal["artworks", "popularity", "history", "niche"]
"""The ways of evaluation/slices.py to split impressions."""

Quantization = Literal["none", "fp8"]
"""Number types that vLLM turns weights and activations into while it loads a checkpoint."""

SECRETS = ("salt", "spark_driver")
"""Settings whose value is never printed."""

# Spark's `limit` takes a 32-bit number.
_MOST_ROWS = 2_000_000_000
_MOST_TOKENS = 16_777_216
# Kubernetes sets these in each pod for every service whose name begins with marquee; nobody wrote them.
_OF_KUBERNETES = re.compile(r"MARQUEE(_\w+)?_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")


def _names(value: object) -> object:
    """A JSON list as its text; anything else as it is, which the type then refuses."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise ValueError("nested too deep") from None


def _beside_the_tables(known: dict[str, Any], name: str, scheme: str = "") -> str | None:
    """A place in the folder of the warehouse; None where that is an object store, or is wrong itself."""
    warehouse = known.get("warehouse")
    if warehouse is None or is_uri(warehouse):
        return None
    # In an address % and ? have a meaning of their own.
    place = warehouse.replace("%", "%25").replace("?", "%3F") if scheme else warehouse
    return f"{scheme}{place}/{name}"


_NAMES = (NoDecode, BeforeValidator(_names))
"""Read by `_names`: pydantic-settings' own decoder raises an error that names no field."""


class Steps(NamedTuple):
    """How an engine divides its work, in tokens: a block of its prefix cache, and the most of one step."""

    block_size: int
    max_num_batched_tokens: int


# A block of 16 leaves half as many tokens of a context to compute again as one of 32; a CPU's are multiples of 32.
ON_GPU, ON_CPU = Steps(16, 16_384), Steps(32, 8_192)


class Settings(BaseSettings):
    """All settings of all steps. `MARQUEE_HISTORY_TITLES=40` sets `history_titles`; an empty variable sets nothing."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, allow_inf_nan=False)

    warehouse: str = Field(
        str(_ROOT / "warehouse"), description="URI of the folder or object store that holds the tables"
    )
    buckets: int = Field(
        16, ge=1, le=100_000, description="buckets of a new warehouse; one that exists keeps its own number"
    )

    model: str = Field(
        str(_ROOT / "examples" / "tiny_llama"),
        description="folder of the checkpoint that scores for as long as the registry has no champion",
    )
    registry: str | None = Field(
        default_factory=lambda known: _beside_the_tables(known, "registry/registry.db", "sqlite:///"),
        description="address of the MLflow registry whose champion scores; by default a SQLite file beside the tables "
        "of a warehouse in a folder. Without a registry or a champion the setting `model` scores",
    )

    history_days: int = Field(365, ge=1, le=36_500, description="days of viewing history that a night reads")
    history_titles: int = Field(20, ge=0, le=10_000, description="latest titles that a context shows")
    leading_themes: int = Field(5, ge=0, le=100, description="leading themes that a context names")
    theme_half_life: int = Field(
        40,
        ge=1,
        le=10_000,
        description="viewings after which one counts half towards the leading themes; by rank, not by date, so "
        "that contexts do not change from day to day",
    )
    name_characters: int = Field(80, ge=1, le=10_000, description="characters kept of a title's name")
    caption_characters: int = Field(200, ge=1, le=10_000, description="characters kept of a caption")
    synopsis_characters: int = Field(160, ge=0, le=10_000, description="characters kept of a synopsis; 0 leaves it out")
    signals: Annotated[tuple[SignalName, ...], *_NAMES] = Field(
        (),
        description="what a prompt tells beside history and catalogue, as a JSON list: `play_rate`, how often each "
        "artwork was played up to the day before; `taste_group`, which of a few groups of viewers, found by ALS, the "
        "user is nearest to. For a model that was trained with the same ones",
    )
    orderings: int = Field(
        4, ge=1, le=MAX_ARTWORKS, description="rotations of a title's options; a pair's hash picks one"
    )
    titles_per_user: int = Field(20, ge=1, le=10_000, description="titles per user that ALS recommends")

    epsilon: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of the policy that is uniform over a pair's artworks. 0 always shows the best "
        "artwork, after which no other policy can be evaluated from the logs",
    )
    temperature: float = Field(
        0.5, ge=1e-6, le=1000, description="divides log-probabilities; below 1 sharpens the policy"
    )
    epoch_days: int = Field(14, ge=1, le=36_500, description="days for which a draw holds")
    uniform_share: float = Field(0.02, ge=0, le=1, description="share of users whose choices are uniform")
    salt: str = Field("marquee", description="names the experiment; another salt draws anew")

    held_out_share: float = Field(
        0.2, ge=0.001, le=0.999, description="share of users, by hash, whom post-training only evaluates on"
    )
    training_examples: int = Field(
        110_000,
        ge=1,
        le=_MOST_ROWS,
        description="examples to train on at most; which ones are left out is a hash of user and title",
    )
    held_out_examples: int = Field(
        5_000, ge=1, le=_MOST_ROWS, description="examples to evaluate on at most; left out in the same way"
    )

    rejected_share_limit: float = Field(0.01, ge=0, le=1, description="share of a table's rows that may be rejected")
    drift_limit: float = Field(0.9, ge=0, le=1, description="share of rescored pairs whose best artwork may change")
    label_mass_floor: float = Field(0.5, ge=0, le=1, description="least mean probability on the option numbers")

    checkpoints: str = Field(
        default_factory=lambda known: _beside_the_tables(known, "checkpoints") or str(_ROOT / "checkpoints"),
        description="folder in which post-training makes checkpoints, and scoring reads them; by default beside the "
        "tables of a warehouse in a folder",
    )
    gate_estimator: EstimatorName = Field("dr", description="the estimator by which a candidate is judged")
    gate_margin: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="plays an impression that the interval of the difference to the champion must clear",
    )
    gate_slices: Annotated[tuple[SliceName, ...], *_NAMES] = Field(
        ("artworks", "history"),
        description="what the impressions are split by to find a candidate's losses, a JSON list; `[]` for none",
    )
    gate_slice_limit: float = Field(
        0.02, ge=0, le=1, description="plays an impression that a candidate may lose in a slice"
    )

    further_orders: int = Field(
        0,
        ge=0,
        le=MAX_ARTWORKS - 1,
        description="further rotations, of those that there are, in which a close pair is asked; its probabilities are "
        "the mean over all of them",
    )
    close_margin: float = Field(
        0.1,
        ge=0,
        le=1,
        description="a pair is close whose two largest probabilities are at most this far apart; with 1 every pair is",
    )
    shards: int = Field(2, ge=1, le=1024, description="scoring tasks of a night, one engine each")
    scoring_python: str = Field("python", description="the Python that runs the tasks of scoring and post-training")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="number type of the engine")
    quantization: Quantization = Field(
        "none",
        description="`fp8`: the engine turns weights and activations into 8-bit numbers, on a GPU only. That is "
        "another model, whose version ends in `+fp8`; a champion is scored as it was registered, whatever is set here",
    )
    block_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description=f"tokens in a block of the prefix cache; where not given {ON_GPU.block_size} on a GPU and "
        f"{ON_CPU.block_size} on a CPU, where it is a multiple of 32",
    )
    max_model_len: int | None = Field(
        None, ge=64, le=_MOST_TOKENS, description="longest prompt; the checkpoint's own length where not given"
    )
    max_num_batched_tokens: int | None = Field(
        None,
        ge=64,
        le=_MOST_TOKENS,
        description="tokens in one step of the engine, at least `max_num_seqs`; where not given "
        f"{ON_GPU.max_num_batched_tokens:,} on a GPU and {ON_CPU.max_num_batched_tokens:,} on a CPU",
    )
    max_num_seqs: int = Field(256, ge=1, le=65_536, description="prompts in one step of the engine")
    cpu_cache_gib: int = Field(2, ge=1, le=65_536, description="size of the prefix cache on a CPU, GiB")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of a GPU's memory that the engine takes")

    events: str | None = Field(
        None, description="file to which commands append what they report, a JSON object a line (schemas/events.py)"
    )
    spark_packages: str = Field("io.delta:delta-spark_4.2_2.13:4.4.0", description="JARs that spark-submit fetches")
    spark_driver: str | None = Field(
        None,
        description="PORT:SECRET of a Spark driver on this machine that the Spark steps share, one after the other, "
        "instead of starting one each; `marquee night` sets it",
    )
    retention_days: int = Field(
        30,
        ge=7,
        le=36_500,
        description="days for which old versions of what Marquee makes stay readable; what is set is applied to tables "
        "that are there by the weekly maintenance",
    )

    @field_validator("*", mode="after")
    @classmethod
    def _is_text(cls, value: object) -> object:
        if isinstance(value, str):
            # Bytes that are not UTF-8 come out of the environment as surrogates, and no library takes those.
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("expected text in UTF-8") from None
        return value

    @field_validator("spark_driver", mode="after")
    @classmethod
    def _port_and_secret(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d{1,5}:[^:\s]+", value):
            raise ValueError("expected PORT:SECRET, as `marquee night` sets it")
        return value

    # A night's tasks run in folders of their own: what is relative would be elsewhere in each.

    @field_validator("warehouse", mode="after")
    @classmethod
    def _absolute_warehouse(cls, value: str) -> str:
        return warehouse_place(value)

    @field_validator("scoring_python", mode="after")
    @classmethod
    def _of_a_home_folder(cls, value: str) -> str:
        # It is quoted for the shell, which then leaves ~ as it is.
        return os.path.expanduser(value)  # noqa: PTH111 (a Path would make `./python` a bare `python`)

    @field_validator("model", "checkpoints", "events", mode="after")
    @classmethod
    def _absolute_folder(cls, value: str | None) -> str | None:
        return None if value is None else absolute_place(value)

    @field_validator("registry", mode="after")
    @classmethod
    def _absolute_registry(cls, value: str | None) -> str | None:
        return None if value is None else absolute_registry(value)

    @model_validator(mode="after")
    def _steps_hold_all_prompts(self) -> Self:
        if self.max_num_batched_tokens is not None and self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"{PREFIX}MAX_NUM_BATCHED_TOKENS is {self.max_num_batched_tokens} and {PREFIX}MAX_NUM_SEQS "
                f"{self.max_num_seqs}: a step of the engine has at least one token for each of its prompts, so the "
                "first must not be smaller than the second"
            )
        return self

    def steps(self, on_cpu: bool) -> Steps:
        """What is set of the engine's steps, and where nothing is, what suits the processor that it runs on."""
        default = ON_CPU if on_cpu else ON_GPU
        return Steps(
            self.block_size or default.block_size,
            self.max_num_batched_tokens or max(default.max_num_batched_tokens, self.max_num_seqs),
        )

    def in_orders(self, orders: int) -> Self:
        """These settings, with every pair asked in so many rotations (or all that it has), close or not."""
        return self.model_copy(update={"further_orders": orders - 1, "close_margin": 1.0})


@cache
def settings() -> Settings:
    """The settings of this process. Raises ContractError with a sentence for each variable that is wrong."""
    return read_settings()


def read_settings() -> Settings:
    """What `settings` keeps, read anew."""
    faults = [_unknown(name) for name in sorted(os.environ) if not _is_known(name)]
    try:
        found = Settings()
    except ValidationError as error:
        # What is made of the warehouse is not looked at where another setting is wrong.
        faults += [_fault(each) for each in error.errors() if each["type"] != "default_factory_not_called"]
    if faults:
        # A list of names has an error for each wrong one, and one sentence for all.
        raise ContractError("; ".join(dict.fromkeys(faults)))
    return found


def _is_known(variable: str) -> bool:
    name = variable.upper()
    if not name.startswith(PREFIX) or _OF_KUBERNETES.fullmatch(name):
        return True
    return name.removeprefix(PREFIX).lower() in Settings.model_fields


def _unknown(variable: str) -> str:
    close = difflib.get_close_matches(variable.upper(), map(_variable, Settings.model_fields), n=1, cutoff=0.8)
    remedy = f"did you mean {close[0]}?" if close else "unset it; schemas/settings.py has the settings that there are"
    return f"{variable} names no setting: {remedy}"


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _fault(error: Any) -> str:
    """The sentence of an entry of ValidationError.errors(): the variable, its value, and what is allowed."""
    if not error["loc"]:
        return str(error["ctx"]["error"])
    field = str(error["loc"][0])
    value = without_password(ascii(os.environ.get(_variable(field), error["input"])))
    if field in SECRETS:
        value = "of another form"
    # Of a place or an address, only the check itself knows what is wrong.
    reason = str(error["ctx"]["error"]) if error["type"] == "value_error" and not _listed(field) else ""
    return f"{_variable(field)} is {value}: {reason or f'expected {_allowed(field)}'}"


def _listed(field: str) -> tuple[str, ...]:
    """The names that a setting which is a list may hold; none for another setting."""
    return next((get_args(inner) for inner in get_args(Settings.model_fields[field].annotation) if get_args(inner)), ())


def _allowed(field: str) -> str:
    """The values that a setting takes, in words: `a number, at least 0, at most 1`."""
    kind, bounds = Settings.model_fields[field].annotation, Settings.model_fields[field].metadata
    if names := _listed(field):
        return f"a JSON list of names among {', '.join(names)}, such as '{json.dumps(names[:1])}'"
    inner = get_args(kind)
    if inner and all(isinstance(each, str) for each in inner):
        return f"one of {', '.join(inner)}"
    number = "a number" if kind is float else "a whole number" if kind is int or int in inner else "text in UTF-8"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [(word, getattr(bound, name)) for name, word in words.items() for bound in bounds if hasattr(bound, name)]
    return ", ".join([number, *(f"{word} {limit:,}" for word, limit in found)])
