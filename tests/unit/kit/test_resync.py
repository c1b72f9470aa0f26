import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from modelservice.kit.cache import object_cache
from modelservice.kit.errors import ApiError, NotFound, TooManyRequests, Unavailable
from modelservice.kit.objects import Ref
from modelservice.kit.resync import Resync, Source
from modelservice.kit.workqueue import LIVE, RELIST
from modelservice.ports import Listing

from tests.unit.kit.meters import Tally
from tests.unit.kit.objects import make

pytestmark = pytest.mark.looptime(start=0)


@dataclass
class Store:
    """What the lists show, and errors that the next lists end with."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = 0
    errors: list[ApiError] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def put(self, name: str, version: int) -> dict[str, Any]:
        self.version = version
        self.objects[name] = make(name, version)
        return self.objects[name]

    def drop(self, name: str, version: int) -> None:
        self.version = version
        del self.objects[name]

    async def list(self, kind: str, *, namespace: str = "", label_selector: str = "", chunk: int = 500) -> Listing:
        self.asked.append({"kind": kind, "namespace": namespace, "selector": label_selector, "chunk": chunk})
        if self.errors:
            raise self.errors.pop(0)
        return Listing(list(self.objects.values()), str(self.version), 0)


@dataclass
class Bench:
    store: Store = field(default_factory=Store)
    meter: Tally = field(default_factory=Tally)
    changed: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def note(obj: dict[str, Any], priority: int) -> None:
            self.changed.append((obj["metadata"]["name"], priority))

        self.source = Source("Thing", object_cache(), note, label_selector="mine=yes")
        self.resync = Resync([self.source], self.store, self.meter, Random(0), chunk=7, settle=5)


def versions(bench: Bench) -> list[str]:
    return [obj["metadata"]["resourceVersion"] for obj in bench.source.cache.values()]


async def test_the_gate_opens_when_all_is_listed_and_the_list_yields_to_live_changes() -> None:
    bench = Bench()
    bench.store.put("a", 1)
    bench.store.put("b", 2)
    await bench.resync.start()
    assert bench.resync.synced.is_set()
    assert bench.source.cache.synced
    assert bench.changed == [("a", RELIST), ("b", RELIST)]
    assert bench.meter.gauges["cache_synced",] == 1
    assert bench.store.asked == [{"kind": "Thing", "namespace": "", "selector": "mine=yes", "chunk": 7}]


async def test_the_gate_stays_shut_while_a_kind_cannot_be_listed_however_long_that_takes() -> None:
    bench = Bench()
    missing = NotFound("the server could not find the requested resource", status=404)
    bench.store.errors = [missing, Unavailable("refused"), TooManyRequests("wait", retry_after=100)]
    opening = asyncio.create_task(bench.resync.start())
    await asyncio.sleep(90)
    assert not bench.resync.synced.is_set()
    await opening
    assert bench.resync.synced.is_set()
    assert asyncio.get_running_loop().time() > 100


async def test_a_deletion_that_the_watch_missed_is_found_and_counted_as_a_ghost() -> None:
    bench = Bench()
    bench.store.put("a", 1)
    bench.store.put("b", 2)
    await bench.resync.start()
    bench.changed.clear()
    bench.store.drop("a", 3)
    assert await bench.resync.check(bench.source) == 1
    assert Ref("ns", "a") not in bench.source.cache
    assert bench.changed == [("a", LIVE)]
    assert bench.meter.counts["resync_ghosts_total", ("kind", "Thing")] == 1
    assert await bench.resync.check(bench.source) == 0


async def test_a_change_that_the_watch_missed_is_taken_in() -> None:
    bench = Bench()
    bench.store.put("a", 1)
    await bench.resync.start()
    bench.changed.clear()
    bench.store.put("a", 5)
    bench.store.put("new", 6)
    assert await bench.resync.check(bench.source) == 2
    assert bench.changed == [("a", LIVE), ("new", LIVE)]
    assert bench.meter.counts["resync_missed_total", ("kind", "Thing")] == 2


async def test_what_the_watch_brings_a_moment_later_was_not_missed() -> None:
    bench = Bench()
    bench.store.put("a", 1)
    bench.store.put("b", 2)
    await bench.resync.start()
    newer = bench.store.put("a", 3)
    gone = make("b", 4)
    bench.store.drop("b", 4)
    loop = asyncio.get_running_loop()
    loop.call_later(1, bench.source.observe, "MODIFIED", newer)
    loop.call_later(2, bench.source.observe, "DELETED", gone)
    assert await bench.resync.check(bench.source) == 0
    assert bench.resync.missed["Thing"].in_a_row == 0


async def test_resyncs_in_a_row_that_find_something_are_counted_and_a_clean_one_ends_the_row() -> None:
    bench = Bench()
    bench.store.put("a", 1)
    await bench.resync.start()
    rows = []
    for version in (2, 3):
        bench.store.put("a", version)
        await bench.resync.check(bench.source)
        rows.append(bench.resync.missed["Thing"].in_a_row)
    await bench.resync.check(bench.source)
    assert [*rows, bench.resync.missed["Thing"].in_a_row] == [1, 2, 0]


async def test_the_periodic_resync_goes_on_after_an_error() -> None:
    bench = Bench()
    bench.store.put("a", 1)
    await bench.resync.start()
    bench.store.errors = [Unavailable("refused")]
    bench.store.put("a", 2)
    repeating = asyncio.create_task(bench.resync.repeat(300))
    await asyncio.sleep(400)
    assert versions(bench) == ["1"]
    await asyncio.sleep(300)
    assert versions(bench) == ["2"]
    repeating.cancel()
    await asyncio.gather(repeating, return_exceptions=True)


async def test_events_of_the_watch_are_urgent_and_those_of_its_list_are_not() -> None:
    bench = Bench()
    bench.source.observe(None, make("a", 1))
    bench.source.observe("MODIFIED", make("a", 2))
    bench.source.observe(None, make("a", 2))
    bench.source.observe("DELETED", make("a", 3))
    assert bench.changed == [("a", RELIST), ("a", LIVE), ("a", LIVE)]
