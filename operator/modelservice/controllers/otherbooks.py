"""Whether another namespace has a book of budgets too: two books would each spend every limit."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from modelservice.controllers.bookkeeper import OPEN
from modelservice.domain.times import format_time
from modelservice.kit.errors import ApiError
from modelservice.kit.objects import Object
from modelservice.ports import Clock, KubeClient

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0


@dataclass(slots=True)
class OtherBooks:
    """Looks every `every` seconds; `namespace` is the operator's own, `problem` what stands against its work."""

    kube: KubeClient
    clock: Clock
    namespace: str
    every: float = LOOK_SECONDS
    problem: str = ""

    async def gone(self) -> None:
        """Wait until there is none."""
        while found := await self._look():
            if found != self.problem:
                log.error("The operator does not work yet: %s", found)
            self.problem = found
            await self.clock.sleep(self.every)
        self.problem = ""

    async def _look(self) -> str:
        try:
            listing = await self.kube.list("BudgetLedger", field_selector=f"metadata.name={OPEN}")
        except (ApiError, TimeoutError) as error:
            return f"Whether another namespace has a book of budgets could not be seen: {error}"
        others = [one for one in listing.items if one["metadata"]["namespace"] != self.namespace]
        return _told(min(others, key=lambda one: str(one["metadata"]["namespace"]))) if others else ""


def _told(other: Object) -> str:
    namespace, time = other["metadata"]["namespace"], (other.get("book") or {}).get("time", 0)
    return (
        f"Namespace {namespace} has a book of budgets too, as of {format_time(time)}. A cluster has one book: two "
        "would each spend every limit. Uninstall one of the two operators. To bring that book here, uninstall the "
        f"operator there, `modelservice ledger export --system-namespace {namespace}`, `kubectl -n {namespace} delete "
        "budgetledgers --all`, and here `modelservice ledger import --apply` and `modelservice ledger acknowledge`."
    )
