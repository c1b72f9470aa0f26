"""Addresses of models: `hf://org/name[@revision][/path]`, `s3://`, `gs://`, `http(s)://` and `file://`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal, get_args

from modelservice_workers.common.errors import SettingsError

Scheme = Literal["hf", "s3", "gs", "http", "https", "file"]

_SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)
_ADDRESS: Final = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<rest>[^\s?#]+)")
_HUB: Final = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[^/\s]+))?(/(?P<path>.+))?", re.ASCII)
_FILE_SUFFIXES: Final = frozenset({".pt2", ".onnx", ".gguf", ".safetensors", ".zip", ".tar", ".tgz"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model lies; `place` is a bucket and key, host and path, absolute path, or repository of the hub.

    `path` and `revision` are only used by the hub: a file or folder of the repository, and the branch, tag or commit.
    """

    scheme: Scheme
    place: str
    path: str = ""
    revision: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        path = f"/{self.path}" if self.path else ""
        return f"{self.scheme}://{self.place}{revision}{path}"

    @property
    def file_name(self) -> str:
        """The name of the single file that is meant, or "" for a directory."""
        name = PurePosixPath(self.path or self.place).name
        is_file = name.endswith(".tar.gz") or PurePosixPath(name).suffix.lower() in _FILE_SUFFIXES
        return name if is_file and not (self.scheme == "hf" and not self.path) else ""


def parse_address(text: str) -> Address:
    """Parse a storage URI; raises SettingsError."""
    match = _ADDRESS.fullmatch(text)
    scheme = next((known for known in _SCHEMES if match is not None and match["scheme"] == known), None)
    if match is None or scheme is None:
        raise SettingsError(
            f"{text!r} is no place of a model; write hf://org/name, s3://, gs://, https:// or file:///."
        )
    rest = match["rest"]
    if ".." in rest.split("/"):
        raise SettingsError(f"{text!r} climbs out of its place with '..'; write the path without it.")
    if scheme == "hf":
        hub = _HUB.fullmatch(rest.rstrip("/"))
        if hub is None:
            raise SettingsError(f"{text!r} names no repository; write hf://org/name or hf://org/name@revision.")
        return Address(scheme, hub["repository"], hub["path"] or "", hub["revision"] or "")
    if scheme == "file" and not rest.startswith("/"):
        raise SettingsError(f"{text!r} must hold an absolute path: file:///path.")
    return Address(scheme, rest)
