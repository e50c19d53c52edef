"""What expressions, splits and persons are called in the copies there are -> the names that are used here."""

from __future__ import annotations

import re
from collections.abc import Mapping

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
CONTEMPT = "contempt"

# The numbers of FER2013 (Goodfellow et al. 2013), from 0; 7 is contempt in CK+ files of the same form
FER2013_ORDER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
# The numbers of RAF-DB (Li et al. 2017), from 1
RAF_DB_ORDER = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")

# Expression -> class of `--classes valence`; surprise may be of either kind and has none
VALENCE: Mapping[str, str] = {
    **dict.fromkeys(("angry", "disgust", "fear", "sad", CONTEMPT), "Negative"),
    "neutral": "Neutral",
    "happy": "Positive",
}
ALIASES: Mapping[str, tuple[str, ...]] = {
    "angry": ("angry", "anger"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful", "afraid", "scared"),
    "happy": ("happy", "happiness", "joy"),
    "neutral": ("neutral", "neutrality"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised"),
    CONTEMPT: ("contempt",),
}
SPLIT_ALIASES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trainclass", "fer2013train"),
    "validation": ("val", "valid", "validation", "valset", "valclass", "publictest", "fer2013valid"),
    "test": ("test", "testing", "testset", "privatetest", "fer2013test"),
}
_EXPRESSIONS = {word: name for name, words in ALIASES.items() for word in words}
_SPLITS = {word: name for name, words in SPLIT_ALIASES.items() for word in words}
# CK+ (Lucey et al. 2010): S005_001_00000011. KDEF (Lundqvist et al. 1998): session A or B, F or M with a number,
# expression, angle; AF01 and BF01 are the same woman.
_PERSON = re.compile(r"(?:(S\d{3})_\d{3}_\d+|[AB]([FM]\d{2})(?:AF|AN|DI|HA|NE|SA|SU)(?:S|[FH][LR]))", re.IGNORECASE)


def expression_of(word: str) -> str | None:
    """The expression that `word` is a name of, in any letter case.

    >>> expression_of("Anger"), expression_of("bored")
    ('angry', None)
    """
    return _EXPRESSIONS.get(word.strip().lower())


def split_of(word: str) -> str | None:
    """The split that `word` is a name of, in any letter case and with or without `_`, `-` and spaces.

    >>> split_of("PublicTest"), split_of("public_test"), split_of("images")
    ('validation', 'validation', None)
    """
    return _SPLITS.get(re.sub(r"[ _-]", "", word).lower())


def person_of(stem: str) -> str:
    """The person in a file's name, as CK+ and KDEF name their files; empty if there is none.

    >>> person_of("S005_001_00000011"), person_of("BF01ANS"), person_of("im0")
    ('S005', 'F01', '')
    """
    match = _PERSON.match(stem)
    return (match[1] or match[2]).upper() if match else ""


def known_names() -> str:
    """The names of expressions that are understood, for an error message."""
    return "; ".join(" or ".join(words) for words in ALIASES.values())


def numbered(order: tuple[str, ...], first: int) -> str:
    """`order` with its numbers, for a message: `0 angry, 1 disgust`."""
    return ", ".join(f"{number} {name}" for number, name in enumerate(order, first))
