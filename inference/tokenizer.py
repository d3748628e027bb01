"""tokenizer.json of a checkpoint, checked: it changes no text and has a token for each option number."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer

from inference.json_file import read_object
from schemas.contract import ContractError
from schemas.prompt import ANSWER
from schemas.tables import MAX_ARTWORKS

_FILE = "tokenizer.json"
_REMEDY = "use a byte-level tokenizer that changes no text, as Llama 3's"
# Text that normalizers and pre-tokenizers change or drop: case, accents, spaces, line breaks, forms of one character.
_TEXTS = (
    "Watched, latest first:\n",
    "  Two  spaces,\ta tab and more  \n",
    "\n",
    " \r\n",
    "ÀÉÎ e\u0301 ﬁ ½ Ⅷ Ａ \u00a0\u3000\u200b\ufeff“”…\n",
    "映画 영화 فيلم फ़िल्म 👩\u200d👩\u200d👧\n",
)
# Every byte that occurs in UTF-8: ASCII, continuation bytes, and those that begin sequences of 2, 3 and 4 bytes.
_BYTES = [
    chr(point)
    for points in (range(0x80), range(0x80, 0x800, 0x40), range(0x80, 0xC0), range(0x800, 0xD800, 0x1000))
    for point in points
] + ["\ue000", "\uf000", "\U00010000", "\U00040000", "\U00080000", "\U000c0000", "\U00100000"]


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


def number_ids(tokenizer: Tokenizer, folder: Path) -> list[int]:
    """The token ids of "1", "2", …, "40". Raises ContractError if one is no single token after `Answer: `, because the
    model answers with one token.
    """
    before = _ids(tokenizer, ANSWER)
    labels = []
    for number in map(str, range(1, MAX_ARTWORKS + 1)):
        alone, after = _ids(tokenizer, number), _ids(tokenizer, ANSWER + number)
        if len(alone) != 1 or after != before + alone:
            raise ContractError(
                f"{folder / _FILE}: option number {number} is not a single token after {ANSWER!r}: "
                f"{ANSWER + number!r} is {after}, {ANSWER!r} is {before}; use a tokenizer in which the numbers up to "
                f"{MAX_ARTWORKS} are, as in Llama 3's"
            )
        labels.append(alone[0])
    return labels


def check_beginning(tokenizer: Tokenizer, folder: Path, bos_token_id: int) -> None:
    """Raise ContractError if tokenizer_config.json names another beginning-of-text token than config.json."""
    file = folder / "tokenizer_config.json"
    if not file.exists():
        return
    named = read_object(file, "use the file that came with this tokenizer.json").get("bos_token")
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
