"""A wrong setting is refused before work begins, in one sentence: variable, value, and what is allowed."""

from __future__ import annotations

import argparse
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.estimators import ESTIMATORS
from marquee.night_commands import STEPS
from schemas.arguments import FIRST_NIGHT, LAST_NIGHT, night_date
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.settings import PREFIX, EstimatorName, Settings, read_settings
from tests.conftest import RunMarquee
from training.settings import RECIPES

NAMES = "expected a JSON list of names among"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("EPSILON", "2", "MARQUEE_EPSILON is '2': expected a number, at least 0, at most 1"),
        ("EPSILON", "nan", "MARQUEE_EPSILON is 'nan': expected a number, at least 0, at most 1"),
        ("TEMPERATURE", "0", "MARQUEE_TEMPERATURE is '0': expected a number, at least 1e-06, at most 1,000"),
        ("GATE_MARGIN", "-inf", "MARQUEE_GATE_MARGIN is '-inf': expected a number, at least -1, at most 1"),
        (
            "MAX_MODEL_LEN",
            "0",
            "MARQUEE_MAX_MODEL_LEN is '0': expected a whole number, at least 64, at most",
        ),
        ("HISTORY_DAYS", "1000000", "MARQUEE_HISTORY_DAYS is '1000000': expected a whole number, at least 1, at most"),
        ("HELD_OUT_EXAMPLES", "3000000000", "MARQUEE_HELD_OUT_EXAMPLES is '3000000000': expected a whole number"),
        ("BUCKETS", "many", "MARQUEE_BUCKETS is 'many': expected a whole number, at least 1, at most 100,000"),
        ("BUCKETS", "1.5", "MARQUEE_BUCKETS is '1.5': expected a whole number"),
        ("SIGNALS", "play_rate", f"MARQUEE_SIGNALS is 'play_rate': {NAMES} play_rate, taste_group, such as"),
        ("SIGNALS", '["play_rates"]', f"MARQUEE_SIGNALS is '[\"play_rates\"]': {NAMES} play_rate, taste_group"),
        ("SIGNALS", '"play_rate"', f"MARQUEE_SIGNALS is '\"play_rate\"': {NAMES} play_rate"),
        (
            "GATE_SLICES",
            '["artwork"]',
            f"MARQUEE_GATE_SLICES is '[\"artwork\"]': {NAMES} artworks, popularity",
        ),
        ("GATE_ESTIMATOR", "truth", "MARQUEE_GATE_ESTIMATOR is 'truth': expected one of replay, ips, clipped_ips"),
        ("DTYPE", "fp16", "MARQUEE_DTYPE is 'fp16': expected one of auto, float32, bfloat16, float16"),
        ("SALT", "caf\udce9", "MARQUEE_SALT is malformed: expected text in UTF-8"),
        ("WAREHOUSE", "file:w", "MARQUEE_WAREHOUSE is 'file:w': a file: URI of this machine begins with file:///"),
        (
            "WAREHOUSE",
            "/w/a%20b",
            "MARQUEE_WAREHOUSE is '/w/a%20b': Delta's readers take '%20' in a path for some",
        ),
        ("WAREHOUSE", "/w/[1]", "MARQUEE_WAREHOUSE is '/w/[1]': Delta's readers take '[' in a path for something else"),
        ("WAREHOUSE", "/w/a`b", "MARQUEE_WAREHOUSE is '/w/a`b': Delta's readers take '`' in a path for something else"),
        ("REGISTRY", "mlruns", "MARQUEE_REGISTRY is 'mlruns': no address of a registry; expected sqlite:////data"),
        ("SIGNALS", "[" * 20_000, "MARQUEE_SIGNALS is '[[["),
        ("WAREHOUSE", " /w", "MARQUEE_WAREHOUSE is ' /w': expected a folder, or the URI of an object store, without"),
        ("WAREHOUSE", "s3://", "MARQUEE_WAREHOUSE is 's3://': a URI without a bucket; expected s3://bucket/prefix"),
        (
            "REGISTRY",
            "sqlite:///file:/r.db?uri=1",
            "MARQUEE_REGISTRY is 'sqlite:///file:/r.db?uri=1': SQLite's own URIs are not supported",
        ),
        (
            "REGISTRY",
            "sqlite://",
            "MARQUEE_REGISTRY is 'sqlite://': no address of a registry; expected sqlite:////data",
        ),
        ("REGISTRY", "sqlite:///:memory:", "MARQUEE_REGISTRY is 'sqlite:///:memory:': a registry in memory ends with"),
        (
            "REGISTRY",
            "sqlite:////w/q?x/r.db",
            "MARQUEE_REGISTRY is 'sqlite:////w/q?x/r.db': the text after ? is no",
        ),
        ("MAX_NUM_BATCHED_TOKENS", "1", "MARQUEE_MAX_NUM_BATCHED_TOKENS is '1': expected a whole number, at least 64"),
        ("MAX_NUM_BATCHED_TOKENS", "128", "MARQUEE_MAX_NUM_BATCHED_TOKENS is 128 and MARQUEE_MAX_NUM_SEQS 256: a step"),
        ("EPSILONN", "0.2", "MARQUEE_EPSILONN names no setting: did you mean MARQUEE_EPSILON?"),
        ("COLOUR", "red", "MARQUEE_COLOUR names no setting: unset it; schemas/settings.py lists the settings"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    variable: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + variable, value)
    with pytest.raises(ContractError) as raised:
        read_settings()
    assert str(raised.value).startswith(sentence)
    assert "\n" not in str(raised.value)


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("EPSILON", "2"), ("SHARDS", "0"), ("SIGNALS", '["a", "b"]'), ("SHARD", "1")):
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ContractError) as raised:
        read_settings()
    variables = [sentence.split()[0] for sentence in str(raised.value).split("; ")]
    assert sorted(variables) == ["MARQUEE_EPSILON", "MARQUEE_SHARD", "MARQUEE_SHARDS", "MARQUEE_SIGNALS"]


@pytest.mark.parametrize("field", Settings.model_fields)
def test_an_empty_variable_sets_nothing(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + field.upper(), "")
    assert read_settings() == Settings()


def test_variables_that_kubernetes_sets_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_80_TCP_ADDR", "UI_SERVICE_HOST", "UI_PORT"):
        monkeypatch.setenv(PREFIX + name, "tcp://10.0.0.1:80")
    assert read_settings() == Settings()


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if {int, float} & {field.annotation, *get_args(field.annotation)}
]


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", ["1e300", "-1e300", "99999999999999999999", "inf", "nan"])
def test_every_number_has_bounds(field: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + field.upper(), value)
    with pytest.raises(ContractError, match=f"^MARQUEE_{field.upper()} is .*: expected a (whole )?number, "):
        read_settings()


@given(st.text(), st.sampled_from(sorted(Settings.model_fields)))
def test_every_text_is_a_setting_or_a_refusal(value: str, field: str) -> None:
    text = value.replace("\0", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PREFIX + field.upper(), text)
        try:
            read_settings()
        except ContractError as error:
            assert f"{PREFIX}{field.upper()}" in str(error)  # noqa: PT017 (either outcome is fine)


def test_the_gates_estimators_are_those_that_an_evaluation_has() -> None:
    assert get_args(EstimatorName) == tuple(ESTIMATORS)


DAY = ["--ds", "2026-01-14"]
MADE = ["--base", "b", "--out", "o"]
COMMANDS = [
    *(["step", step, *DAY] for step in STEPS),
    ["step", "maintain"],
    ["night", *DAY],
    ["score", *DAY],
    ["summary", *DAY],
    ["lookup"],
    ["browse"],
    ["fingerprint"],
    ["post-training", *DAY],
    ["score-held-out", *DAY, "--champion"],
    ["evaluate", *DAY, "--candidate", "c@1"],
    ["report", *DAY, "--candidate", "c@1", "--out", "o"],
    ["judge", "folder", *DAY],
    ["models", "list"],
    ["models", "check"],
    ["models", "promote", "folder"],
    ["models", "rollback"],
    *(["train", recipe, *DAY, *MADE] for recipe in RECIPES),
    ["train", "reasons", *DAY, "--model", "examples/tiny_llama"],
    ["sample", "simulated"],
    ["sample", "movielens", "--folder", "f"],
    ["sample", "value", *DAY],
    ["sample", "coverage"],
    ["sample", "paper-table"],
    ["doctor"],
    ["airflow"],
]


def name_of(command: list[str]) -> str:
    return " ".join(command[:2] if command[0] in ("step", "train", "models", "sample") else command[:1])


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_every_command_refuses_a_wrong_setting_in_one_line(
    command: list[str],
    marquee: RunMarquee,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MARQUEE_EPSILON", "2")
    assert marquee(*command) == REFUSED
    sentence = "MARQUEE_EPSILON is '2': expected a number, at least 0, at most 1"
    assert capsys.readouterr().err == f"marquee {name_of(command)}: {sentence}\n"


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-14 ", " 2026-01-14", "20260114", "2026-W03-3", "2026-02-30", "0001-01-01", "9999-12-31", "now"],
)
def test_a_night_is_a_date_and_nothing_else(text: str, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"ds is {text!r}, expected a date as YYYY-MM-DD, from 1970"):
        night_date(text)
    for command in COMMANDS:
        if "--ds" in command:
            assert marquee(*(text if word == DAY[1] else word for word in command)) == REFUSED
            assert f"ds is {text!r}, expected" in capsys.readouterr().err


@given(st.dates(FIRST_NIGHT, LAST_NIGHT))
def test_every_date_that_can_be_a_night_is_read(day: Any) -> None:
    assert night_date(str(day)) == day
