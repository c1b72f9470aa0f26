"""What a ComputePool says of itself."""

from __future__ import annotations

from fractions import Fraction

from modelservice.domain.conditions import Condition
from modelservice.domain.money import format_amount
from modelservice.domain.prices import node_ceiling, pod_rate
from modelservice.domain.specs import Pool
from modelservice.domain.times import format_time

POOL_REASONS = frozenset({"NodesReady", "NoMatchingNodes", "NoReadyNodes", "PriceUnknown", "Invalid"})
PRICE_REASONS = frozenset({"PriceKnown", "PriceEnds", "PriceJump", "PriceUnknown"})

ENDS_SECONDS = 7 * 86_400
"""So long before the known prices end it is said."""


def judge_pool(nodes: int, ready: int, problem: str, unpriced: str = "") -> Condition:
    """Ready of a ComputePool that so many nodes match; nodes that start on demand may come later.

    `problem` is why the pool cannot be used at all, `unpriced` why its price is not known.
    """
    if problem:
        return Condition("Ready", "False", "Invalid", f"The pool cannot be used: {problem}.")
    if unpriced:
        return Condition("Ready", "False", "PriceUnknown", f"Nothing new starts in the pool: {unpriced}.")
    if nodes == 0:
        text = "No node carries the labels of nodeSelector now; pods wait until one does."
        return Condition("Ready", "False", "NoMatchingNodes", text)
    if ready == 0:
        return Condition("Ready", "False", "NoReadyNodes", f"None of its {nodes} nodes is ready.")
    return Condition("Ready", "True", "NodesReady", f"{ready} of {nodes} nodes are ready.")


def judge_price(pool: Pool, now: int) -> Condition:
    """Priced of a ComputePool: which prices are in force, what is held, and what a person should look at."""
    tariff, currency = pool.tariff, pool.currency
    if tariff.problem:
        text = f"The price is not known: {tariff.problem}. What runs goes on at the price that was held for it last."
        return Condition("Priced", "False", "PriceUnknown", text)
    prices = " and ".join(
        f"{name} {format_amount(offer.price)} {currency}" + (f" (row {offer.row})" if offer.row else "")
        for name, offer in sorted(tariff.offers.items())
    )
    sentences = [f"A node hour costs {prices}; {format_amount(ceiling(pool))} {currency} is held for it."]
    if compared := tariff.comparison():
        sentences.append(f"{compared}.")
    if tariff.rises_at is not None:
        sentences.append(f"A dearer price begins at {format_time(tariff.rises_at)} and is held already.")
    reason = "PriceKnown"
    if tariff.known_until is not None and tariff.known_until - now <= ENDS_SECONDS:
        reason = "PriceEnds"
        sentences.append(f"The OnDemand price ends at {format_time(tariff.known_until)}: add a row that follows.")
    if tariff.jumps:
        reason = "PriceJump"
        sentences += [f"{jump[:1].upper()}{jump[1:]}." for jump in tariff.jumps]
    return Condition("Priced", "True", reason, " ".join(sentences))


def ceiling(pool: Pool) -> int:
    """What is held for a whole node, micro-units per hour, rounded up as for a pod that fills it."""
    return pod_rate(node_ceiling(pool.tariff.dearest, pool.margin_percent), Fraction(1))
