"""Settings of the inference server."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from modelservice_workers.common.cpu import count_threads
from modelservice_workers.common.cpufeatures import read_features
from modelservice_workers.common.errors import SettingsError


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What `modelservice-worker serve` was asked to do; times are seconds, sizes bytes."""

    model_name: str
    model_path: str
    host: str
    port: int
    threads: int
    cpu_features: frozenset[str]
    remote_code: bool
    max_batch_rows: int
    max_queue_requests: int
    max_queue_bytes: int
    max_body_bytes: int
    request_timeout_seconds: float
    drain_delay_seconds: float
    drain_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Setting:
    """A flag with its variable, its default and its bounds."""

    flag: str
    variable: str
    default: float
    smallest: float
    largest: float
    text: str
    whole: bool = True


NUMBERS: Final = (
    Setting("port", "PORT", 8080, 0, 65535, "TCP port; 0 takes a free one"),
    Setting("max-batch-rows", "MODELSERVICE_MAX_BATCH_ROWS", 64, 1, 65536, "rows computed together"),
    Setting("max-queue-requests", "MODELSERVICE_MAX_QUEUE_REQUESTS", 512, 1, 1 << 20, "waiting requests before 429"),
    Setting("max-queue-bytes", "MODELSERVICE_MAX_QUEUE_BYTES", 256 << 20, 1, 1 << 40, "tensor bytes in it before 429"),
    Setting("max-body-bytes", "MODELSERVICE_MAX_BODY_BYTES", 64 << 20, 1, 1 << 40, "size of a request before 413"),
    Setting(
        "request-timeout-seconds", "MODELSERVICE_REQUEST_TIMEOUT_SECONDS", 60, 0.001, 86400,
        "time for a request to wait and be computed before 504", whole=False,
    ),
    Setting(
        "drain-delay-seconds", "MODELSERVICE_DRAIN_DELAY_SECONDS", 5, 0, 3600,
        "time that requests are still taken after SIGTERM, while load balancers notice", whole=False,
    ),
    Setting(
        "drain-timeout-seconds", "MODELSERVICE_DRAIN_TIMEOUT_SECONDS", 20, 0, 3600,
        "time for open requests to finish after the delay", whole=False,
    ),
)  # fmt: skip


STOP_VARIABLE: Final = "MODELSERVICE_STOP_SECONDS"

REMOTE_CODE_VARIABLE: Final = "MODELSERVICE_REMOTE_CODE"

_REMOTE_CODE: Final = ("Deny", "Allow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags; each has a variable of the environment as its default."""
    parser.add_argument("--model-name", help="name in the routes (MODEL_NAME)")
    parser.add_argument("--model-path", help="artifact directory or model file (MODEL_PATH)")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - a pod serves its network
    for number in NUMBERS:
        parser.add_argument(f"--{number.flag}", help=f"{number.text} ({number.variable}, default {number.default:g})")


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> ServeSettings:
    """Flags before variables before defaults; raises SettingsError with the name of what is wrong."""
    parser = argparse.ArgumentParser(prog="modelservice-worker serve", description="Serve one model over HTTP.")
    add_arguments(parser)
    flags = vars(parser.parse_args(arguments))
    numbers = {number.flag: _read_number(number, flags, environment) for number in NUMBERS}
    if stop := environment.get(STOP_VARIABLE):
        given = {one.flag for one in NUMBERS if flags[one.flag.replace("-", "_")] or environment.get(one.variable)}
        numbers |= _fit(stop, numbers, given)
    return ServeSettings(
        model_name=_read_text("model-name", "MODEL_NAME", flags, environment),
        model_path=_read_text("model-path", "MODEL_PATH", flags, environment),
        host=flags["host"],
        port=int(numbers["port"]),
        threads=count_threads(environment),
        cpu_features=read_features(environment),
        remote_code=_read_choice(REMOTE_CODE_VARIABLE, _REMOTE_CODE, environment) == "Allow",
        max_batch_rows=int(numbers["max-batch-rows"]),
        max_queue_requests=int(numbers["max-queue-requests"]),
        max_queue_bytes=int(numbers["max-queue-bytes"]),
        max_body_bytes=int(numbers["max-body-bytes"]),
        request_timeout_seconds=numbers["request-timeout-seconds"],
        drain_delay_seconds=numbers["drain-delay-seconds"],
        drain_timeout_seconds=numbers["drain-timeout-seconds"],
    )


def _fit(stop: str, numbers: Mapping[str, float], given: AbstractSet[str]) -> dict[str, float]:
    """The times of a drain that ends `stop` seconds after SIGTERM, and no request outlasts."""
    if not (stop.isascii() and stop.isdecimal() and int(stop)):
        raise SettingsError(f"{STOP_VARIABLE} is {stop!r}; it must be a whole number from 1.")
    delay = numbers["drain-delay-seconds"] if "drain-delay-seconds" in given else 0.0
    room = int(stop) - delay
    if room <= 0:
        raise SettingsError(
            f"--drain-delay-seconds is {delay:g} s, but the pod has only {stop} s after SIGTERM ({STOP_VARIABLE})."
        )
    fitted = {
        "drain-delay-seconds": delay,
        "request-timeout-seconds": min(numbers["request-timeout-seconds"], room),
        "drain-timeout-seconds": room,
    }
    for flag in ("request-timeout-seconds", "drain-timeout-seconds"):
        if flag in given:
            if numbers[flag] > room:
                raise SettingsError(
                    f"--{flag} is {numbers[flag]:g} s, but the pod has only {room:g} s for its last requests "
                    f"({STOP_VARIABLE} is {stop} s, the drain delay {delay:g} s): lower it, or let the pool pay for a "
                    "longer stop (billing.stopSeconds) or the runtime drain for longer (drain)."
                )
            fitted[flag] = numbers[flag]
    return fitted


def _read_text(flag: str, variable: str, flags: Mapping[str, str | None], environment: Mapping[str, str]) -> str:
    text = flags[flag.replace("-", "_")] or environment.get(variable)
    if not text:
        raise SettingsError(f"Neither --{flag} nor {variable} is set; one of them is needed.")
    return text


def _read_choice(variable: str, choices: Sequence[str], environment: Mapping[str, str]) -> str:
    text = environment.get(variable) or choices[0]
    if text not in choices:
        raise SettingsError(f"{variable} is {text!r}; it must be {' or '.join(choices)}.")
    return text


def _read_number(number: Setting, flags: Mapping[str, str | None], environment: Mapping[str, str]) -> float:
    text = flags[number.flag.replace("-", "_")] or environment.get(number.variable)
    if not text:
        return number.default
    try:
        value = int(text) if number.whole else float(text)
    except ValueError:
        value = None
    if value is None or not number.smallest <= value <= number.largest:
        kind = "a whole number" if number.whole else "a number"
        raise SettingsError(
            f"--{number.flag} ({number.variable}) is {text!r}; "
            f"it must be {kind} from {number.smallest:g} to {number.largest:g}."
        )
    return value
