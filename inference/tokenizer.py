"""tokenizer.json of a checkpoint, checked: it changes no text and has a token for each label of an option."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer

from inference.json_file import read_object
from schemas.contract import ContractError
from schemas.prompt import LABELS, LabelKind

_FILE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_OWN_SETTINGS = "use the file that came with this tokenizer.json"
_REMEDY = "use a byte-level tokenizer that changes no text, as Llama 3's"
_LABELS_REMEDY = "use a tokenizer with a token for each number up to 40, as Llama 3's, or for each letter, as SmolLM2's"
# Text that normalizers and pre-tokenizers change or drop: case, accents, spaces, line breaks, forms of one character.
_TEXTS = (
    "Watched, latest first:\n",
    "  Two  spaces,\ta tab and more  \n",
    "\n",
    " \r\n",
    "ÀÉÎ e\u0301 ﬁ ½ Ⅷ Ａ \u00a0\u3000\u200b\ufeff“”…\n",
    "映画 영화 فيلم फ़िल्म 👩\u200d👩\u200d👧\n",
)
# Every byte of text: ASCII, continuation bytes, and those that begin sequences of 2, 3 and 4 bytes. Prompts have no
# control characters, and Unicode has no characters from U+40000 to U+BFFFF: tokenizers lack tokens for these, as
# SmolLM2's does.
_BYTES = [
    chr(point)
    for points in ([0x0A], range(0x20, 0x7F), range(0x80, 0x800, 0x40), range(0x80, 0xC0), range(0x800, 0xD800, 0x1000))
    for point in points
] + ["\ue000", "\uf000", "\U00010000", "\U000c0000", "\U00100000"]


def read_tokenizer(folder: Path, vocab_size: int, special: Iterable[int]) -> Tokenizer:
    """The tokenizer of the checkpoint in `folder`, which never encodes text as a special token.

    `special` are the ids of special tokens in config.json. Raises ContractError if the tokenizer would lose text or
    does not belong to the model.
    """
    file = folder / _FILE
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ContractError(f"{file}: not a tokenizer that can be read ({error}); {_REMEDY}") from error
    # Text from catalogues never becomes a special token.
    tokenizer.encode_special_tokens = True
    _check_settings(tokenizer, file)
    _check_vocabulary(tokenizer, file, vocab_size)
    _check_special(tokenizer, file, special)
    _check_texts(tokenizer, file)
    return tokenizer


def label_ids(tokenizer: Tokenizer, folder: Path, kind: LabelKind) -> list[int]:
    """The token id of each label. Raises ContractError if one is no single token after the choice, because the model
    answers with one token.
    """
    if fault := _split_label(tokenizer, kind):
        raise ContractError(f"{folder / _FILE}: {fault}, expected one token more for the label; {_LABELS_REMEDY}")
    return [_ids(tokenizer, label)[0] for label in LABELS[kind].tokens]


def choose_labels(tokenizer: Tokenizer, folder: Path) -> LabelKind:
    """Numbers, or letters if the tokenizer splits numbers. Raises ContractError if it splits letters, too."""
    faults = {kind: _split_label(tokenizer, kind) for kind in LABELS}
    for kind, fault in faults.items():
        if fault is None:
            return kind
    raise ContractError(
        f"{folder / _FILE}: {' and '.join(map(str, faults.values()))}, expected one token more for each number or for "
        f"each letter; {_LABELS_REMEDY}"
    )


def _split_label(tokenizer: Tokenizer, kind: LabelKind) -> str | None:
    """The first label that is no single token after the choice, in words; None if each is."""
    labels = LABELS[kind]
    before = _ids(tokenizer, labels.answer)
    for label in labels.tokens:
        alone, after = _ids(tokenizer, label), _ids(tokenizer, labels.answer + label)
        if len(alone) != 1 or after != before + alone:
            return f"{labels.answer + label!r} is {after} while {labels.answer!r} is {before}"
    return None


def check_no_chat(folder: Path) -> None:
    """Raise ContractError if the checkpoint has a chat template: it expects its prompts in that."""
    settings, template = folder / _SETTINGS, folder / "chat_template.jinja"
    if template.exists():
        where, remedy = template, "remove this file"
    elif settings.exists() and read_object(settings, _OWN_SETTINGS).get("chat_template"):
        where, remedy = settings, "remove chat_template from this file"
    else:
        return
    raise ContractError(
        f"{where}: the model was trained on chats in this template, expected none, as Marquee's prompts are plain "
        f"text; take the base model, or {remedy} and teach it Marquee's prompts by post-training"
    )


def check_beginning(tokenizer: Tokenizer, folder: Path, bos_token_id: int) -> None:
    """Raise ContractError if tokenizer_config.json names another beginning-of-text token than config.json."""
    file = folder / _SETTINGS
    if not file.exists():
        return
    named = read_object(file, _OWN_SETTINGS).get("bos_token")
    content = named.get("content") if isinstance(named, dict) else named
    if content is not None and tokenizer.token_to_id(str(content)) != bos_token_id:
        raise ContractError(
            f"{file}: bos_token is {content!r}, which is token {tokenizer.token_to_id(str(content))}, expected token "
            f"{bos_token_id}, {tokenizer.id_to_token(bos_token_id)!r} (bos_token_id in config.json); correct the one "
            "that the model was not trained with"
        )


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def _check_settings(tokenizer: Tokenizer, file: Path) -> None:
    for setting, value, effect in (
        ("padding", tokenizer.padding, "lengthens short lines"),
        ("truncation", tokenizer.truncation, "cuts long lines"),
        ("dropout", getattr(tokenizer.model, "dropout", None), "splits words at random"),
    ):
        if value:
            raise ContractError(
                f'{file}: {setting} is {value!r}, which {effect}, expected null; set "{setting}" in the file to null'
            )


def _check_vocabulary(tokenizer: Tokenizer, file: Path, vocab_size: int) -> None:
    ids = sorted(tokenizer.get_vocab(with_added_tokens=True).values())
    size = ids[-1] + 1 if ids else 0
    if size > vocab_size:
        raise ContractError(
            f"{file}: the tokenizer has {size} tokens, the model only {vocab_size} (vocab_size in config.json): they "
            "do not belong together; use the tokenizer that came with the weights"
        )
    shared = [id_ for id_, following in pairwise(ids) if id_ == following]
    if shared:
        raise ContractError(f"{file}: several tokens have the id {shared[0]}, expected one token of each id; {_REMEDY}")


def _check_special(tokenizer: Tokenizer, file: Path, special: Iterable[int]) -> None:
    """Check that the special tokens exist and that no text is encoded as one."""
    known = {id_: token.content for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    for id_ in special:
        if id_ not in known:
            raise ContractError(
                f"{file}: token {id_} is {tokenizer.id_to_token(id_)!r}, expected a special token, as config.json has "
                "it for bos_token_id or eos_token_id; use the tokenizer that came with the weights"
            )
    for id_, content in known.items():
        if id_ in _ids(tokenizer, content):
            raise ContractError(
                f"{file}: the text {content!r} becomes the special token {id_}, expected plain tokens; {_REMEDY}"
            )


def _check_texts(tokenizer: Tokenizer, file: Path) -> None:
    added = [token for token in tokenizer.get_added_tokens_decoder().values() if not token.special]
    for text in (*_BYTES, *_TEXTS, *(f"a {token.content} a" for token in added)):
        found = tokenizer.decode(_ids(tokenizer, text), skip_special_tokens=False)
        if found != text:
            raise ContractError(
                f"{file}: {text!r} comes back from its tokens as {found!r}{_normalized(tokenizer, text)}, expected "
                f"unchanged; {_REMEDY}"
            )


def _normalized(tokenizer: Tokenizer, text: str) -> str:
    """What the normalizer does to `text`, if it changes it."""
    normalizer = tokenizer.normalizer
    found = text if normalizer is None else normalizer.normalize_str(text)
    return "" if found == text else f" (the normalizer makes {found!r} of it)"
