"""Leadership over a register with compare-and-swap, which is all that a Lease is, in virtual time.

tests/cluster/test_kit_lease.py does the same against a real API server.
"""

import asyncio
import contextlib
import copy
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from modelservice.kit.errors import Conflict, NotFound, Unavailable
from modelservice.kit.leader import Elector, LeaseLost, LeaseTimes
from modelservice.ports import Answer

pytestmark = pytest.mark.looptime(start=0)


@dataclass
class Register:
    """One stored object with a version; `down` makes every request fail, `hang` makes it take that long."""

    stored: dict[str, Any] | None = None
    down: set[str] = field(default_factory=set)

    def client(self, who: str) -> "Client":
        return Client(self, who)


@dataclass
class Client:
    register: Register
    who: str

    async def get(self, kind: str, namespace: str, name: str) -> Answer:
        await self._pass()
        if self.register.stored is None:
            raise NotFound("no lease", status=404)
        return Answer(copy.deepcopy(self.register.stored), 0)

    async def create(self, obj: dict[str, Any], *, manager: str) -> Answer:
        await self._pass()
        if self.register.stored is not None:
            raise Conflict("taken", status=409, reason="AlreadyExists")
        return self._store(obj, 1)

    async def replace(self, obj: dict[str, Any], *, manager: str) -> Answer:
        await self._pass()
        assert self.register.stored is not None
        version = self.register.stored["metadata"]["resourceVersion"]
        if obj["metadata"]["resourceVersion"] != version:
            raise Conflict("stale", status=409)
        return self._store(obj, int(version) + 1)

    async def _pass(self) -> None:
        await asyncio.sleep(0.01)
        if self.who in self.register.down:
            raise Unavailable("connection refused")

    def _store(self, obj: dict[str, Any], version: int) -> Answer:
        obj = copy.deepcopy(obj)
        obj["metadata"]["resourceVersion"] = str(version)
        self.register.stored = obj
        return Answer(copy.deepcopy(obj), 0)


@dataclass
class Clock:
    """Loop time, and a wall clock that tests may set wrong."""

    skew: float = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_800_000_000 + asyncio.get_running_loop().time() + self.skew

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def elector(register: Register, who: str, clock: Clock | None = None) -> Elector:
    return Elector(
        register.client(who),
        namespace="ns",
        name="lease",
        identity=who,
        clock=clock or Clock(),
        times=LeaseTimes(duration=15, deadline=10, retry=2),
        random=Random(who),
    )


def holder(register: Register) -> str:
    assert register.stored is not None
    return str(register.stored["spec"]["holderIdentity"])


async def test_the_first_to_come_leads_and_the_second_waits() -> None:
    register = Register()
    one, two = elector(register, "one"), elector(register, "two")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(300)
    assert (one.leading, two.leading) == (True, False)
    assert holder(register) == "one"
    for task in (keeping, waiting):
        task.cancel()
    await asyncio.gather(keeping, waiting, return_exceptions=True)


async def test_a_dead_leader_is_followed_after_the_lease_and_not_before() -> None:
    register = Register()
    one, two = elector(register, "one"), elector(register, "two")
    await one.acquire()
    await asyncio.wait_for(two.acquire(), 60)
    assert 15 < asyncio.get_running_loop().time() < 20
    assert holder(register) == "two"
    assert register.stored is not None
    assert register.stored["spec"]["leaseTransitions"] == 2


async def test_a_lease_given_back_is_taken_at_the_next_try() -> None:
    register = Register()
    one, two = elector(register, "one"), elector(register, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(5)
    await one.release()
    released = asyncio.get_running_loop().time()
    await waiting
    assert asyncio.get_running_loop().time() - released < 3
    assert not one.leading


async def test_a_leader_that_cannot_renew_stops_before_another_may_start() -> None:
    register = Register()
    one, two = elector(register, "one"), elector(register, "two")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(7)
    register.down.add("one")
    with pytest.raises(LeaseLost, match="not renewed"):
        await keeping
    lost = asyncio.get_running_loop().time()
    await waiting
    assert lost < asyncio.get_running_loop().time()
    assert not one.leading


async def test_a_short_outage_costs_nobody_the_lease() -> None:
    register = Register()
    one = elector(register, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    for _ in range(5):
        register.down.add("one")
        await asyncio.sleep(5)
        register.down.discard("one")
        await asyncio.sleep(5)
    assert one.leading
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


@pytest.mark.parametrize("jump", [3600, -3600])
async def test_no_jump_of_a_wall_clock_takes_or_keeps_a_lease(jump: float) -> None:
    register = Register()
    clocks = Clock(), Clock()
    one, two = elector(register, "one", clocks[0]), elector(register, "two", clocks[1])
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(20)
    clocks[0].skew = jump
    await asyncio.sleep(20)
    clocks[1].skew = -jump
    await asyncio.sleep(60)
    assert (one.leading, two.leading) == (True, False)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    stopped = asyncio.get_running_loop().time()
    await waiting
    assert asyncio.get_running_loop().time() - stopped < 20


async def test_a_leader_that_sees_another_name_in_the_lease_stops_at_once() -> None:
    register = Register()
    one = elector(register, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    await asyncio.sleep(3)
    assert register.stored is not None
    register.stored["spec"]["holderIdentity"] = "two"
    register.stored["metadata"]["resourceVersion"] = "99"
    with pytest.raises(LeaseLost, match="two holds the lease"):
        await keeping


async def test_two_that_start_together_give_one_leader() -> None:
    for seed in range(20):
        register = Register()
        electors = [elector(register, f"{seed}-{n}") for n in range(5)]
        tasks = [asyncio.create_task(one.acquire()) for one in electors]
        await asyncio.sleep(10)
        assert sum(one.leading for one in electors) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_releasing_a_lease_of_somebody_else_changes_nothing() -> None:
    register = Register()
    one, two = elector(register, "one"), elector(register, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(3)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await two.release()
    assert holder(register) == "one"
