"""Expansion of $(NAME), as the kubelet does it for command and args, for the variables that ModelService sets itself.

References to other variables stay as they are, for the kubelet; $$ escapes and is kept too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_][A-Za-z0-9_]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put the values of the known variables into the text."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name is None or name not in variables else variables[name].replace("$", "$$")

    return _REFERENCE.sub(replaced, text)


def expand_all(words: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """`expand` for each word of a command line."""
    return [expand(word, variables) for word in words]
