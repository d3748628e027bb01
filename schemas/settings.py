"""Every setting, read once from the environment (`MARQUEE_…`) into one typed object."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ROOT = Path(__file__).resolve().parent.parent

type_signal = Literal["play_rate", "taste_group"]
SIGNALS: tuple[str, ...] = get_args(type_signal)
"""What the setting `signals` may name."""


class Settings(BaseSettings):
    """All settings of all steps. `MARQUEE_HISTORY_TITLES=40` sets `history_titles`."""

    model_config = SettingsConfigDict(env_prefix="MARQUEE_", frozen=True)

    warehouse: str = Field(
        str(_ROOT / "warehouse"), description="URI of the folder or object store that holds the tables"
    )
    buckets: int = Field(16, ge=1, description="buckets of a new warehouse; one that exists keeps its own number")

    model: str = Field(
        str(_ROOT / "examples" / "tiny_llama"),
        description="folder of the checkpoint that scores for as long as the registry has no champion",
    )
    registry: str | None = Field(
        None, description="URI of the MLflow registry whose champion scores; without one the setting `model` does"
    )

    history_days: int = Field(365, ge=1, description="days of viewing history that a night reads")
    history_titles: int = Field(20, ge=0, description="latest titles that a context shows")
    leading_themes: int = Field(5, ge=0, description="leading themes that a context names")
    theme_half_life: int = Field(
        40,
        ge=1,
        description="viewings after which one counts half towards the leading themes; by rank, not by date, so "
        "that contexts do not change from day to day",
    )
    name_characters: int = Field(80, ge=1, description="characters kept of a title's name")
    caption_characters: int = Field(200, ge=1, description="characters kept of a caption")
    synopsis_characters: int = Field(160, ge=0, description="characters kept of a synopsis; 0 leaves it out")
    signals: tuple[type_signal, ...] = Field(
        (),
        description="what a prompt tells beside history and catalogue, as a JSON list: `play_rate`, how often each "
        "artwork was played up to the day before; `taste_group`, which of a few groups of viewers, found by ALS, the "
        "user is nearest to. For a model that was trained with the same ones",
    )
    orderings: int = Field(4, ge=1, description="rotations of a title's options; a pair's hash picks one")
    titles_per_user: int = Field(20, ge=1, description="titles per user that ALS recommends")

    epsilon: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of the policy that is uniform over a pair's artworks. 0 always shows the best "
        "artwork, after which no other policy can be evaluated from the logs",
    )
    temperature: float = Field(0.5, gt=0, description="divides log-probabilities; below 1 sharpens the policy")
    epoch_days: int = Field(14, ge=1, description="days for which a draw holds")
    uniform_share: float = Field(0.02, ge=0, le=1, description="share of users whose choices are uniform")
    salt: str = Field("marquee", description="names the experiment; another salt draws anew")

    held_out_share: float = Field(
        0.2, gt=0, lt=1, description="share of users, by hash, whom post-training only evaluates on"
    )
    training_examples: int = Field(
        110_000, ge=1, description="examples to train on at most; which ones are left out is a hash of user and title"
    )
    held_out_examples: int = Field(5_000, ge=1, description="examples to evaluate on at most; left out in the same way")

    rejected_share_limit: float = Field(0.01, ge=0, le=1, description="share of a table's rows that may be rejected")
    drift_limit: float = Field(0.9, ge=0, le=1, description="share of rescored pairs whose best artwork may change")
    label_mass_floor: float = Field(0.5, ge=0, le=1, description="least mean probability on the option numbers")

    checkpoints: str = Field(
        str(_ROOT / "checkpoints"),
        description="folder in which post-training makes checkpoints; scoring reads them there",
    )
    gate_estimator: str = Field("dr", description="the estimator by which a candidate is judged")
    gate_margin: float = Field(
        0.0, description="plays an impression that the interval of the difference to the champion must clear"
    )
    gate_slices: tuple[str, ...] = Field(
        ("artworks", "history"),
        description="what the impressions are split by when a candidate's losses are looked for",
    )
    gate_slice_limit: float = Field(0.02, ge=0, description="plays an impression that a candidate may lose in a slice")

    further_orders: int = Field(
        0,
        ge=0,
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
    block_size: int = Field(32, ge=1, description="tokens in a block of the prefix cache; a multiple of 32 on a CPU")
    max_model_len: int | None = Field(None, description="longest prompt; the checkpoint's own length where not given")
    max_num_batched_tokens: int = Field(8192, ge=1, description="tokens in one step of the engine")
    max_num_seqs: int = Field(256, ge=1, description="prompts in one step of the engine")
    cpu_cache_gib: int = Field(2, ge=1, description="size of the prefix cache on a CPU, GiB")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of a GPU's memory that the engine takes")

    spark_packages: str = Field("io.delta:delta-spark_4.2_2.13:4.4.0", description="JARs that spark-submit fetches")
    retention_days: int = Field(
        30,
        ge=7,
        description="days for which old versions of what Marquee makes stay readable; what is set is applied to tables "
        "that are there by the weekly maintenance",
    )

    @model_validator(mode="after")
    def _local_paths_are_absolute(self) -> Self:
        # A night's tasks run in folders of their own: what is relative would be elsewhere in each.
        for name in ("warehouse", "model", "checkpoints"):
            place: str = getattr(self, name)
            if "://" not in place and not Path(place).is_absolute():
                object.__setattr__(self, name, str(Path(place).resolve()))
        return self

    def of_questions(self) -> Self:
        """These settings on the warehouse whose `user_contexts` are the held-out questions of post-training."""
        return self._elsewhere("post_training/questions")

    def of_scores(self, model_version: str) -> Self:
        """These settings on the warehouse that holds a model's scores of those questions."""
        return self._elsewhere(f"post_training/scores/{model_version}")

    def in_orders(self, orders: int) -> Self:
        """These settings, with every pair asked in so many rotations (or all that it has), close or not."""
        return self.model_copy(update={"further_orders": orders - 1, "close_margin": 1.0})

    def _elsewhere(self, below: str) -> Self:
        return self.model_copy(update={"warehouse": f"{self.warehouse.rstrip('/')}/{below}"})


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
