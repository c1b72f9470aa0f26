"""Compressed request bodies."""

from __future__ import annotations

import zlib
from typing import Final

_WINDOW_BITS: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}

ENCODINGS: Final = ("gzip", "deflate")


class UnknownEncodingError(Exception):
    """A content coding that is not taken."""


class BadBodyError(Exception):
    """A body that its content coding does not explain."""


class BodyTooLargeError(Exception):
    """A body that would be larger than allowed."""


def decode_body(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its content coding; stops at `limit` bytes, whatever the compressed data would become.

    Raises UnknownEncodingError, BadBodyError or BodyTooLargeError.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"identity", b""):
        return body
    if encoding not in _WINDOW_BITS:
        raise UnknownEncodingError
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise BadBodyError from None
    if len(plain) > limit:
        raise BodyTooLargeError
    if not inflater.eof or inflater.unused_data:
        raise BadBodyError
    return plain
