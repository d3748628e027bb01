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
"""The names allowed in the setting `signals`."""
EstimatorName = Literal["replay", "ips", "clipped_ips", "snips", "dm", "dr", "switch_dr"]
"""The estimators of evaluation/estimators.py that need no truth."""
SliceName = Literal["artworks", "popularity", "history", "niche"]
"""The ways to split impressions (evaluation/slices.py)."""

Quantization = Literal["none", "fp8"]
"""Number types to which vLLM can convert weights and activations while it loads a checkpoint."""

SECRETS = ("salt", "spark_driver")
"""Settings whose value is never printed."""

# Spark's `limit` takes a 32-bit number.
_MOST_ROWS = 2_000_000_000
_MOST_TOKENS = 16_777_216
# Kubernetes sets these in each pod for every service whose name begins with marquee; they are not settings.
_OF_KUBERNETES = re.compile(r"MARQUEE(_\w+)?_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")


def _names(value: object) -> object:
    """Decode JSON text; return anything else unchanged, for the type check to refuse."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise ValueError("nested too deep") from None


def _registry_beside(warehouse: str) -> str | None:
    """A SQLite registry in the warehouse's folder; None if the warehouse is an object store."""
    if is_uri(warehouse):
        return None
    # % and ? have special meanings in an address.
    return f"sqlite:///{warehouse.replace('%', '%25').replace('?', '%3F')}/registry/registry.db"


_NAMES = (NoDecode, BeforeValidator(_names))
"""Decoded by `_names`: the error of pydantic-settings' own decoder names no field."""


class Steps(NamedTuple):
    """Sizes of an engine's work, in tokens: one block of its prefix cache, and the most in one step."""

    block_size: int
    max_num_batched_tokens: int


# With blocks of 16, half as many tokens of a context are computed again as with 32; a CPU needs multiples of 32.
ON_GPU, ON_CPU = Steps(16, 16_384), Steps(32, 8_192)


class Settings(BaseSettings):
    """All settings of all steps. `MARQUEE_HISTORY_TITLES=40` sets `history_titles`; an empty variable sets nothing."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, allow_inf_nan=False)

    warehouse: str = Field(
        str(_ROOT / "warehouse"),
        description="URI of the folder or object store that holds the tables; must be set if this user may not write "
        "the repository",
    )
    buckets: int = Field(
        16, ge=1, le=100_000, description="buckets of a new warehouse; one that exists keeps its own number"
    )

    model: str = Field(
        str(_ROOT / "examples" / "tiny_llama"),
        description="folder of the checkpoint that scores as long as the registry has no champion",
    )
    registry: str | None = Field(
        default_factory=lambda known: _registry_beside(known["warehouse"]),
        description="address of the MLflow registry whose champion scores; by default a SQLite file beside the tables, "
        "if the warehouse is a folder. Without a registry or a champion the setting `model` scores",
    )

    teacher: str | None = Field(
        None,
        description="folder or URI of a checkpoint that writes reasons in words, if asked: `marquee explain --reason`, "
        "and the page of `marquee browse`",
    )

    history_days: int = Field(365, ge=1, le=36_500, description="days of viewing history that a night reads")
    history_titles: int = Field(20, ge=0, le=10_000, description="latest titles that a context shows")
    leading_themes: int = Field(5, ge=0, le=100, description="leading themes that a context names")
    theme_half_life: int = Field(
        40,
        ge=1,
        le=10_000,
        description="number of later viewings after which a viewing counts half towards the leading themes; by rank, "
        "not by date, so that contexts do not change from day to day",
    )
    name_characters: int = Field(80, ge=1, le=10_000, description="characters kept of a title's name")
    caption_characters: int = Field(200, ge=1, le=10_000, description="characters kept of a caption")
    synopsis_characters: int = Field(160, ge=0, le=10_000, description="characters kept of a synopsis; 0 leaves it out")
    signals: Annotated[tuple[SignalName, ...], *_NAMES] = Field(
        (),
        description="what a prompt says beyond history and catalogue, as a JSON list: `play_rate`, how often each "
        "artwork was played up to the day before; `taste_group`, the group of viewers, found by ALS, that is nearest "
        "to the user. The model must have been trained with the same signals",
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
        "artwork; no other policy can then be evaluated from the logs",
    )
    temperature: float = Field(
        0.5, ge=1e-6, le=1000, description="divides log-probabilities; below 1 sharpens the policy"
    )
    epoch_days: int = Field(14, ge=1, le=36_500, description="days for which a draw holds")
    uniform_share: float = Field(0.02, ge=0, le=1, description="share of users whose choices are uniform")
    salt: str = Field("marquee", description="name of the experiment; a new salt draws every choice again")

    held_out_share: float = Field(
        0.2, ge=0.001, le=0.999, description="share of users, by hash, that post-training uses for evaluation only"
    )
    training_examples: int = Field(
        110_000,
        ge=1,
        le=_MOST_ROWS,
        description="most examples to train on; a hash of user and title decides which ones are left out",
    )
    held_out_examples: int = Field(
        5_000, ge=1, le=_MOST_ROWS, description="most examples to evaluate on; left out in the same way"
    )

    rejected_share_limit: float = Field(0.01, ge=0, le=1, description="share of a table's rows that may be rejected")
    drift_limit: float = Field(0.9, ge=0, le=1, description="share of rescored pairs whose best artwork may change")
    change_limit: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share by which a night's users, titles, `epsilon` and `temperature`, its share of random choices "
        "and its titles' texts, play rates aside, may differ from the last published nights, and of the choices that "
        "stand the share that it may remove",
    )
    policy_limit: float = Field(
        0.1,
        ge=0,
        le=1,
        description="difference that the mean propensities and entropy may have to those of the last published nights "
        "of the same model",
    )
    number_limit: float = Field(
        0.3, ge=0, le=1, description="share of pairs by which one option number may win more often than by chance"
    )
    same_for_all_limit: float = Field(
        0.98, ge=0, le=1, description="share of scored pairs that may have their title's commonest best artwork"
    )
    label_mass_floor: float = Field(0.5, ge=0, le=1, description="least mean probability on the option numbers")

    checkpoints: str = Field(
        default_factory=lambda known: f"{known['warehouse']}/checkpoints",
        description="folder or URI where post-training writes checkpoints and scoring reads them; by default beside "
        "the tables",
    )
    gate_estimator: EstimatorName = Field("dr", description="estimator that decides whether a candidate is promoted")
    gate_margin: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="plays per impression that the interval of the difference to the champion must clear",
    )
    gate_slices: Annotated[tuple[SliceName, ...], *_NAMES] = Field(
        ("artworks", "history"),
        description="how impressions are split to find a candidate's losses, as a JSON list; `[]` for no slices",
    )
    gate_slice_limit: float = Field(
        0.02,
        ge=0,
        le=1,
        description="plays per impression that a candidate may lose in a slice; a larger loss refuses it if the "
        "interval there, widened for the number of slices, is below zero",
    )

    further_orders: int = Field(
        0,
        ge=0,
        le=MAX_ARTWORKS - 1,
        description="further rotations, as far as the title has them, in which a close pair is scored; its "
        "probabilities are the mean over all rotations scored",
    )
    close_margin: float = Field(
        0.1,
        ge=0,
        le=1,
        description="a pair is close if its two largest probabilities differ by at most this; with 1 every pair is",
    )
    shards: int = Field(2, ge=1, le=1024, description="scoring tasks of a night, one engine each")
    scoring_python: str = Field("python", description="the Python that runs the tasks of scoring and post-training")
    scoring_image: str | None = Field(
        None,
        description="image of the container in which Airflow's KubernetesExecutor runs a task that scores or trains, "
        "with one GPU (Dockerfile, target `scoring`)",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="number type of the engine")
    quantization: Quantization = Field(
        "none",
        description="`fp8`: the engine converts weights and activations to 8-bit numbers, on a GPU only. The result is "
        "another model, whose version ends in `+fp8`; a champion always scores as it was registered",
    )
    block_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description=f"tokens in a block of the prefix cache; by default {ON_GPU.block_size} on a GPU and "
        f"{ON_CPU.block_size} on a CPU, where it must be a multiple of 32",
    )
    max_model_len: int | None = Field(
        None, ge=64, le=_MOST_TOKENS, description="longest prompt, in tokens; by default the checkpoint's own length"
    )
    max_num_batched_tokens: int | None = Field(
        None,
        ge=64,
        le=_MOST_TOKENS,
        description="tokens in one step of the engine, at least `max_num_seqs`; by default "
        f"{ON_GPU.max_num_batched_tokens:,} on a GPU and {ON_CPU.max_num_batched_tokens:,} on a CPU",
    )
    max_num_seqs: int = Field(256, ge=1, le=65_536, description="prompts in one step of the engine")
    cpu_cache_gib: int = Field(2, ge=1, le=65_536, description="size of the prefix cache on a CPU, GiB")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of a GPU's memory that the engine takes")

    late_callback: str | None = Field(
        None,
        description="dotted path of a coroutine, such as `our_alerts.page`, that Airflow's triggerer calls when a "
        "nightly run is late; by default nothing is called",
    )
    late_after_hours: float = Field(
        6.0, gt=0, le=168, description="hours after it was queued at which a nightly run that has not ended is late"
    )

    events: str | None = Field(
        None, description="file to which commands append their reports, one JSON object per line (schemas/events.py)"
    )
    spark_packages: str = Field(
        "io.delta:delta-spark_4.2_2.13:4.4.0",
        description="packages that Spark fetches from Maven; for a warehouse in S3, those for S3 are added "
        "(schemas/jars.py)",
    )
    spark_jars: str | None = Field(
        None, description="folder of JARs that Spark loads instead of fetching packages; `marquee jars` fills one"
    )
    cache: str = Field(
        str(_ROOT / ".cache"),
        description="folder of this machine for what is fetched or made once: checkpoints from an object store, and "
        "the JAR with which Spark commits to S3",
    )
    spark_driver: str | None = Field(
        None,
        description="PORT:SECRET of a Spark driver on this machine that the Spark steps share, one after the other, "
        "instead of starting one each; `marquee night` sets it",
    )
    retention_days: int = Field(
        30,
        ge=7,
        le=36_500,
        description="days for which old versions of Marquee's own tables stay readable; the weekly maintenance applies "
        "a change to existing tables",
    )

    selection_days: int = Field(
        90,
        ge=1,
        le=36_500,
        description="days after which a published choice ends whose pair no night has wanted meanwhile; each bucket is "
        "looked through on one day of the week",
    )
    night_days: int = Field(
        90,
        ge=7,
        le=36_500,
        description="days, up to the newest published night, of which any night may be run again; the weekly "
        "maintenance removes what older nights left and these do not read",
    )

    @field_validator("*", mode="after")
    @classmethod
    def _is_text(cls, value: object) -> object:
        if isinstance(value, str):
            # Python turns bytes of the environment that are not UTF-8 into surrogates, which no library accepts.
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

    @field_validator("late_callback", mode="after")
    @classmethod
    def _dotted_path(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value):
            raise ValueError("expected a dotted path, such as our_alerts.page")
        return value

    # Each task of a night runs in its own folder, where a relative path would lead elsewhere.

    @field_validator("warehouse", mode="after")
    @classmethod
    def _absolute_warehouse(cls, value: str) -> str:
        if value == str(_ROOT / "warehouse") and not os.access(value, os.F_OK) and not os.access(_ROOT, os.W_OK):
            raise ValueError(
                f"this user may not write {_ROOT}, so the tables have no place there; set {PREFIX}WAREHOUSE to another "
                "folder or to the URI of an object store"
            )
        return warehouse_place(value)

    @field_validator("scoring_python", mode="after")
    @classmethod
    def _of_a_home_folder(cls, value: str) -> str:
        # The shell gets it quoted and so does not expand ~.
        return os.path.expanduser(value)  # noqa: PTH111 (a Path would make `./python` a bare `python`)

    @field_validator("model", "teacher", "checkpoints", "events", "spark_jars", "cache", mode="after")
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
        """The sizes as they are set or, by default, as they suit the processor."""
        default = ON_CPU if on_cpu else ON_GPU
        return Steps(
            self.block_size or default.block_size,
            self.max_num_batched_tokens or max(default.max_num_batched_tokens, self.max_num_seqs),
        )

    def in_rotations(self, rotations: int) -> Self:
        """These settings, with every pair, close or not, scored in so many rotations (or all that it has)."""
        return self.model_copy(update={"further_orders": rotations - 1, "close_margin": 1.0})


@cache
def settings() -> Settings:
    """The settings of this process. Raises ContractError with one sentence per invalid variable."""
    return read_settings()


def read_settings() -> Settings:
    """Read the settings from the environment, without the cache of `settings`."""
    faults = [_unknown(name) for name in sorted(os.environ) if not _is_known(name)]
    try:
        found = Settings()
    except ValidationError as error:
        # Pydantic skips the defaults that depend on the warehouse when another setting is wrong.
        faults += [_fault(each) for each in error.errors() if each["type"] != "default_factory_not_called"]
    if faults:
        # A list has one error per wrong name, but all of them are one sentence.
        raise ContractError("; ".join(dict.fromkeys(faults)))
    return found


def _is_known(variable: str) -> bool:
    name = variable.upper()
    if not name.startswith(PREFIX) or _OF_KUBERNETES.fullmatch(name):
        return True
    return name.removeprefix(PREFIX).lower() in Settings.model_fields


def _unknown(variable: str) -> str:
    close = difflib.get_close_matches(variable.upper(), map(_variable, Settings.model_fields), n=1, cutoff=0.8)
    remedy = f"did you mean {close[0]}?" if close else "unset it; schemas/settings.py lists the settings"
    return f"{variable} names no setting: {remedy}"


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _fault(error: Any) -> str:
    """The sentence for one entry of ValidationError.errors(): the variable, its value, and what is allowed."""
    if not error["loc"]:
        return str(error["ctx"]["error"])
    field = str(error["loc"][0])
    value = without_password(ascii(os.environ.get(_variable(field), error["input"])))
    if field in SECRETS:
        value = "malformed"
    # Only its own validator knows what is wrong with a path or an address.
    reason = str(error["ctx"]["error"]) if error["type"] == "value_error" and not _listed(field) else ""
    return f"{_variable(field)} is {value}: {reason or f'expected {_allowed(field)}'}"


def _listed(field: str) -> tuple[str, ...]:
    """The names that a list setting may contain; empty for any other setting."""
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
