"""Random requests: good ones whose parts are replaced, cut, doubled and flipped; the same ones for the same seed."""

from __future__ import annotations

import gzip
import json
import struct
from random import Random
from typing import Any

INFER = "/v2/models/linear/infer"
HEADER = "Inference-Header-Content-Length"

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 2**31, 2**63, 2**64, 2**70, 1e39, 1e308, -1e-308, 0.5, "", "x", "FP32", "NaN",
    "\u0000", "ünï", "💡" * 50, "x" * 5000, [], [[]], [[[[[[]]]]]], [1], [1, 2], [None], ["a"], [[1], [2, 3]], {},
    {"a": 1}, {"binary_data_size": 8}, {"binary_data": True}, {"timeout": 1}, {"binary_data_output": True},
    "BYTES", "FP16", "BF16", "BOOL", "INT64", "UINT8", [-1, 2], [0, 2], [2**62, 2**62], [1.0, 2], ["1", 2], [1] * 3000,
)  # fmt: skip

PATHS = (
    INFER, INFER, INFER, INFER, "/v2/models/linear/versions/1/infer", "/v2/models/linear/versions/%00/infer", "/",
    "/v2/models/linear", "/v2/models/%6Cinear/infer", "/v2/models/%FF/infer", "/v2/models//infer", "/v2", "/metrics",
    "/v1/embeddings", "/v1/models/x", "//", "/v2/models/linear/infer?x=1", "/v2/models/linear/infer/", "*",
    "/" + "a" * 9000,
)  # fmt: skip

METHODS = ("POST",) * 12 + ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "FOO")


def good_document(random: Random) -> dict[str, Any]:
    rows = random.choice((1, 1, 1, 2, 7, 40))
    data: list[Any] = [round(random.gauss(0, 10), 3) for _ in range(rows * 2)]
    if random.random() < 0.3:
        data = [data[at : at + 2] for at in range(0, len(data), 2)]
    document: dict[str, Any] = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": data}],
        "id": f"r-{random.randrange(100)}",
        "parameters": {"binary_data_output": random.random() < 0.3},
        "outputs": [{"name": "y", "parameters": {}}],
    }
    for key in ("id", "parameters", "outputs"):
        if random.random() < 0.4:
            del document[key]
    return document


def mutate(random: Random, value: Any, depth: int = 0) -> Any:
    """A copy in which about one part is something else."""
    if depth > 1 and random.random() < 0.25:
        return random.choice(ODD)
    if isinstance(value, dict) and value:
        key = random.choice(list(value))
        action = random.random()
        if action < 0.15:
            return {name: part for name, part in value.items() if name != key}
        if action < 0.25:
            return {**value, random.choice(("x", "data", "shape", "parameters", "")): random.choice(ODD)}
        return {**value, key: mutate(random, value[key], depth + 1)}
    if isinstance(value, list) and value:
        at = random.randrange(len(value))
        action = random.random()
        if action < 0.15:
            return value[:at] + value[at + 1 :]
        if action < 0.25:
            return [*value, value[at]]
        return [*value[:at], mutate(random, value[at], depth + 1), *value[at + 1 :]]
    return random.choice(ODD)


def damage(random: Random, content: bytes) -> bytes:
    """Bytes cut, flipped, doubled or inserted."""
    at, end = sorted((random.randrange(len(content) + 1), random.randrange(len(content) + 1)))
    noise = random.randbytes(random.randrange(1, 9))
    return random.choice(
        (
            content[:at],
            content[at:],
            content[:at] + noise + content[at:],
            content[:at] + content[end:],
            content + content[at:end],
        )
    )


def render(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def with_binary(random: Random, document: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The document's numbers as bytes behind it, with the right size most of the time."""
    given = document["inputs"][0]
    raw = struct.pack(f"<{given['shape'][0] * 2}f", *[random.gauss(0, 10) for _ in range(given["shape"][0] * 2)])
    del given["data"]
    given["parameters"] = {"binary_data_size": random.choice((len(raw),) * 8 + (0, 1, len(raw) + 1, 2**40, -1))}
    return document, raw


def make_request(random: Random) -> bytes:
    """One request, whole or broken, as it goes over the wire."""
    document = good_document(random)
    headers = {}
    raw = b""
    if random.random() < 0.4:
        document, raw = with_binary(random, document)
    text = json.dumps(mutate(random, document) if random.random() < 0.8 else document).encode()
    if raw or random.random() < 0.1:
        headers[HEADER] = str(random.choice((len(text),) * 10 + (0, len(text) - 1, 10**9, "-1", "abc", "1e3", "")))
    body = text + raw
    if random.random() < 0.25:
        body = damage(random, body)
    if random.random() < 0.08:
        headers["Content-Encoding"] = random.choice(("gzip", "deflate", "br", "gzip, gzip", ""))
        body = gzip.compress(body) if random.random() < 0.7 else body
    length = {"Content-Length": str(len(body))}
    if random.random() < 0.04:
        length = {"Content-Length": random.choice(("-1", "x", str(len(body) + 5), "99999999999", ""))}
    elif random.random() < 0.1:
        length = {"Transfer-Encoding": "chunked"}
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in split(random, body)) + b"0\r\n\r\n"
    content = render(random.choice(METHODS), random.choice(PATHS), {**headers, **length}, body)
    return damage(random, content) if random.random() < 0.08 else content


def split(random: Random, body: bytes) -> list[bytes]:
    at = random.randrange(len(body) + 1)
    return [part for part in (body[:at], body[at:]) if part]
