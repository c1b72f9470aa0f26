"""What every layer of tests shares: markers and time limits by directory, and how many examples a property gets."""

import asyncio
import importlib.util
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
# Seconds for one test, with its fixtures; one property plays all its examples.
TIMEOUTS = {"unit": 20, "property": 300, "cluster": 120, "e2e": 300, "proof": 3600}

# The workers' tests need PyTorch, which only .venv-workers has.
collect_ignore = [] if importlib.util.find_spec("torch") else ["unit/workers"]

# Otherwise pytest-asyncio has Python 3.11 make an event loop that nobody closes, which is a warning and so an error.
asyncio.set_event_loop(None)

# `make test` tries the same examples every time; `make property N=...` tries N new ones.
steady = settings(derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("steady", steady)
if wanted := os.environ.get("MODELSERVICE_PROPERTY_EXAMPLES"):
    search = settings(steady, derandomize=False, max_examples=int(wanted), suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("search", search)
    TIMEOUTS["property"] += int(wanted)
settings.load_profile("search" if wanted else "steady")


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does, also one in the background, which a shell starts deaf to Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marker and the time limit of its layer."""
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue
        layer = item.path.relative_to(TESTS).parts[0]
        if layer in TIMEOUTS:
            item.add_marker(getattr(pytest.mark, layer))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TIMEOUTS[layer]))
