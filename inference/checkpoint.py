"""The manifest `marquee.json` beside the weights of a language model in the Hugging Face format: the name and version
under which scores are published, the prompt format and signals that the model was trained with, and the labels of
options that it reads. A checkpoint without a manifest, or whose files have changed since, cannot score.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from inference.config import CONFIG, read_config
from inference.fetch import fetched
from inference.json_file import read_object, refusal
from inference.prior import PRIOR_FILES, read_prior
from schemas.contract import ContractError
from schemas.paths import is_uri
from schemas.prompt import LABELS, PROMPT_FORMAT, LabelKind, Labels
from schemas.settings import SIGNALS, Quantization

MANIFEST = "marquee.json"
# The files that decide a score: weights, architecture, tokenizer and label priors.
_VERSIONED = ("*.safetensors", "*.safetensors.index.json", CONFIG, "tokenizer*", *PRIOR_FILES.values())
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(rf"{_NAME.pattern}@[0-9a-f]{{12}}")
# Hashing 16 GB before every night would take minutes; a large file of unchanged size counts as unchanged.
_REHASHED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Checkpoint:
    """A model that may score. `version` names it in every row that it scored; lengths and sizes are in tokens.
    `signals` are the signals (a setting) that its prompts must have. Another `quantization` makes it another model.
    """

    path: Path
    name: str
    version: str
    signals: tuple[str, ...]
    max_model_len: int
    vocab_size: int
    bos_token_id: int
    labels: LabelKind = "numbers"
    """What labels the options in its prompts."""
    quantization: Quantization = "none"
    uri: str | None = None
    """Where it is in an object store; `path` is then this machine's copy."""

    @property
    def source(self) -> str:
        """Where every machine finds it: its folder or URI."""
        return self.uri or str(self.path.resolve())

    def quantized(self, quantization: Quantization) -> Self:
        """This unquantized checkpoint, scoring in another number type, with a version that says so.

        Raises ContractError if its label prior was measured in its own number type only.
        """
        if quantization == "none":
            return self
        own, needed = (self.path / PRIOR_FILES[each] for each in ("none", quantization))
        if own.exists() and not needed.exists():
            raise ContractError(
                f"{needed}: the file is missing, and the label prior of {self.version} in {own.name} does not hold for "
                f"{quantization}; measure it with `MARQUEE_QUANTIZATION={quantization} marquee models prior "
                f"{shlex.quote(str(self.path))} --ds DAY`, or unset MARQUEE_QUANTIZATION"
            )
        return replace(self, version=f"{self.version}+{quantization}", quantization=quantization)


def quantization_of(version: str) -> Quantization:
    """The quantization that a model's version names."""
    return "fp8" if version.endswith("+fp8") else "none"


def write_manifest(path: str | Path, name: str, signals: Sequence[str] = ()) -> Checkpoint:
    """Write the manifest of the checkpoint in `path`. Its version is `name` and a hash over its files.

    The content of the files is checked first: a checkpoint that contradicts itself gets no version (ContractError).
    """
    check_name(name)
    folder = own_folder(path)
    labels = _check_content(folder)
    files = {file.name: _fingerprint(file) for file in _versioned_files(folder)}
    digests = "".join(f"{file} {found['sha256']}\n" for file, found in files.items())
    version = f"{name}@{hashlib.sha256(digests.encode()).hexdigest()[:12]}"
    manifest = {
        "name": name,
        "version": version,
        "prompt_format": PROMPT_FORMAT,
        "labels": labels,
        "signals": list(signals),
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return read_checkpoint(folder)


def check_name(name: str) -> None:
    """Raise ContractError if a version cannot begin with `name`. Versions are names of folders and appear in SQL."""
    if not _NAME.fullmatch(name):
        raise ContractError(
            f"the name {name!r} cannot begin a model's version: take letters, digits and . _ - with a letter or digit "
            "first"
        )


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in `path`, a folder or the URI of an object store, from which it is fetched. Raises ContractError
    unless it has a manifest for this prompt format and these files.

    config.json and label prior are checked again, because the manifest may be older than a check.
    """
    uri = str(path) if is_uri(str(path)) else None
    folder = fetched(uri, MANIFEST, _check_whole) if uri else own_folder(path)
    manifest = _manifest(folder)
    if manifest.get("prompt_format") != PROMPT_FORMAT:
        raise ContractError(
            f"{folder}: the model was trained on prompt format {manifest.get('prompt_format')!r}, this version of "
            f"Marquee writes {PROMPT_FORMAT!r}: train it on these prompts, or use the Marquee that it was made with"
        )
    _check_files(folder, manifest)
    _check_merged(folder)
    config = read_config(folder)
    for quantization in PRIOR_FILES:
        read_prior(folder, quantization)
    return Checkpoint(
        path=folder,
        name=manifest["name"],
        version=manifest["version"],
        signals=tuple(manifest.get("signals", ())),
        max_model_len=config.max_position_embeddings,
        vocab_size=config.vocab_size,
        bos_token_id=config.bos_token_id,
        labels=manifest["labels"],
        uri=uri,
    )


def labels_of(folder: Path) -> Labels:
    """How the prompts of the checkpoint in `folder` label options, even if its files have changed since."""
    return LABELS[_manifest(folder)["labels"]]


def own_folder(path: str | Path) -> Path:
    """The folder of a checkpoint that is to be read or changed where it is. Raises ContractError if it is no folder."""
    if is_uri(str(path)):
        raise ContractError(
            f"{path}: the checkpoint is in an object store; change it in a folder, and copy that folder to the store"
        )
    folder = Path(path)
    if not folder.is_dir():
        raise ContractError(
            f"{folder}: there is no checkpoint folder here; set MARQUEE_MODEL, or the command's argument, to one"
        )
    return folder


def _manifest(folder: Path) -> dict[str, Any]:
    file, remedy = folder / MANIFEST, f"write it with `{_command(folder, '<name>')}`"
    manifest = read_object(file, remedy)
    for key, kind, expected in (("name", str, "a string"), ("version", str, "a string"), ("files", dict, "an object")):
        if not isinstance(manifest.get(key), kind):
            raise refusal(file, f"{key} is {manifest.get(key)!r}", expected, remedy)
    for name, entry in manifest["files"].items():
        if not isinstance(entry, dict) or set(entry) != {"bytes", "sha256"}:
            raise refusal(file, f"the entry of {name} is {entry!r}", "its bytes and sha256", remedy)
    signals = manifest.get("signals", [])
    if not isinstance(signals, list) or not set(map(str, signals)) <= set(SIGNALS):
        raise refusal(file, f"signals is {signals!r}", f"a list of names among {', '.join(SIGNALS)}", remedy)
    # Before there were letters, manifests did not say.
    if manifest.setdefault("labels", "numbers") not in LABELS:
        raise refusal(file, f"labels is {manifest['labels']!r}", f"one of {', '.join(LABELS)}", remedy)
    if not _VERSION.fullmatch(manifest["version"]):
        raise refusal(file, f"version is {manifest['version']!r}", "a name, @ and 12 hexadecimal digits", remedy)
    return manifest


def _check_content(folder: Path) -> LabelKind:
    """Check the files of a checkpoint; return the labels that its tokenizer allows."""
    from inference.tokenizer import check_beginning, check_no_chat, choose_labels, read_tokenizer
    from inference.weights import check_weights

    _versioned_files(folder)
    _check_merged(folder)
    config = read_config(folder)
    tokenizer = read_tokenizer(folder, config.vocab_size, (config.bos_token_id, *config.eos_token_ids))
    check_beginning(tokenizer, folder, config.bos_token_id)
    check_no_chat(folder)
    labels = choose_labels(tokenizer, folder)
    for quantization in PRIOR_FILES:
        read_prior(folder, quantization)
    check_weights(folder, config)
    return labels


def _check_merged(folder: Path) -> None:
    adapters = sorted(file.name for file in folder.glob("adapter_*"))
    if adapters:
        raise ContractError(
            f"{folder}: {', '.join(adapters)} found, which transformers would train with and vLLM score without, "
            "expected no adapter; merge it into the weights (merge_and_unload of peft) or remove it"
        )


def _versioned_files(folder: Path) -> list[Path]:
    found = {file for pattern in _VERSIONED for file in folder.glob(pattern) if file.is_file()}
    names = {file.name for file in found}
    for needed in (CONFIG, "tokenizer.json"):
        if needed not in names:
            raise ContractError(
                f"{folder / needed}: the file is missing; a checkpoint has config.json and tokenizer.json"
            )
    if not any(name.endswith(".safetensors") for name in names):
        raise ContractError(f"{folder}: no weights found; a checkpoint has *.safetensors files")
    return sorted(found)


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _check_whole(folder: Path) -> None:
    """Raise ContractError if a fetched file, however large, is not the one that the manifest describes."""
    for name, known in _manifest(folder)["files"].items():
        if not (folder / name).is_file() or _fingerprint(folder / name) != known:
            raise ContractError(
                f"{folder / name}: the file is not the one that {MANIFEST} describes: copy the whole checkpoint to the "
                "store again, the manifest last"
            )


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    files, found = manifest["files"], _versioned_files(folder)
    changed = sorted(set(files) ^ {file.name for file in found})
    for file in found:
        known = files.get(file.name)
        if known is None:
            continue
        size = file.stat().st_size
        if size != known["bytes"] or (size <= _REHASHED_BYTES and _fingerprint(file) != known):
            changed.append(file.name)
    if changed:
        raise ContractError(
            f"{folder}: {', '.join(changed)} changed since {MANIFEST} was written, so its scores need another version; "
            f"write it again with `{_command(folder, manifest['name'], manifest.get('signals', ()))}`"
        )


def _command(folder: Path, name: str, signals: Sequence[str] = ()) -> str:
    options = "".join(f" --signal {signal}" for signal in signals)
    return f"marquee models manifest {shlex.quote(str(folder))} --name {name}{options}"
