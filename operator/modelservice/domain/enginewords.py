"""How an engine is told to serve, read from the words of its command line (options of vLLM and llama.cpp)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from modelservice.domain.estimator import Terms

WHOLE = {
    "--max-model-len": "context",
    "--ctx-size": "context",
    "--max-num-batched-tokens": "batched_tokens",
    "--max-num-seqs": "sequences",
    "--tensor-parallel-size": "tensor",
    "-tp": "tensor",
    "--pipeline-parallel-size": "pipeline",
    "-pp": "pipeline",
}
CACHE_BITS = {"fp8": 8, "fp8_e4m3": 8, "fp8_e5m2": 8, "fp8_inc": 8}
WEIGHT_BITS = {"fp8": 8, "bitsandbytes": 4}
_UNITS = {"k": 1000, "m": 1_000_000, "K": 1024, "M": 1024 * 1024}
MOST = 1 << 31


def read_words(words: Sequence[str], devices: int) -> Terms:
    """The terms that a command line sets for a replica with so many devices; raises ValueError for an odd value.

    Words that are no such options, and values that are other variables than $(DEVICES), leave what the engine decides
    itself.
    """
    terms = Terms()
    for option, given in _options(words):
        value = given.replace("$(DEVICES)", str(devices))
        if "$(" in value:
            continue
        if option in WHOLE:
            terms = _with(terms, WHOLE[option], _whole(option, value))
        elif option == "--gpu-memory-utilization":
            terms = replace(terms, utilization=_share(option, value))
        elif option == "--kv-cache-dtype":
            terms = replace(terms, cache_bits=CACHE_BITS.get(value, 16))
        elif option in ("--quantization", "-q"):
            terms = replace(terms, weight_bits=WEIGHT_BITS.get(value, 0))
    return terms


def _with(terms: Terms, name: str, value: int) -> Terms:
    given: dict[str, Any] = {name: value}
    return replace(terms, **given)


def _options(words: Sequence[str]) -> list[tuple[str, str]]:
    """Options with their values, written as `--name value` or `--name=value`; a shell's line is read too."""
    split = [part for word in words for part in (word.split() if " " in word else [word])]
    found = []
    for at, word in enumerate(split):
        name, equals, value = word.partition("=")
        if equals:
            found.append((name.replace("_", "-"), value))
        elif at + 1 < len(split):
            found.append((word.replace("_", "-"), split[at + 1]))
    return found


def _whole(option: str, text: str) -> int:
    digits, factor = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    if not digits.isdecimal() or not 0 < int(digits) * factor < MOST:
        raise ValueError(f"{option} is {text!r}, which must be a whole number above 0")
    return int(digits) * factor


def _share(option: str, text: str) -> Fraction:
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise ValueError(f"{option} is {text!r}, which must be a number above 0 and up to 1")
    return share
