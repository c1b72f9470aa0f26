"""The tour of budgets shows what it says, on the chart with its admission policies and its fuse."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from cluster import Cluster

SAID = (
    "Hard would refuse 1: one more needs 4.50, 3.00 is left.",
    "Money is held for 2 pods",
    "1 pod refused: one more needs 4.",
    "10.00 USD may be spent beyond the limit until ",
    " and stays there. team-",
    "waits at its gate",
    "starts without money held for it",
    "The fuse has deleted chat-",
    "it has held money for the third replica",
    "limit 22.00 USD, spent ",
    "override 10.00 USD, ",
    "tour ok",
)


def test_the_tour_goes_from_a_trial_over_a_refusal_an_override_a_boundary_and_the_fuse_to_the_report(
    cluster: Cluster, tmp_path: Path
) -> None:
    page = tmp_path / "tour.html"
    words = ("examples/budget-tour/tour.py", "--kubectl", shlex.join(cluster.kubectl_command()), "--html", page)
    told = cluster.run(sys.executable, *words, timeout=280)
    places = [told.find(sentence) for sentence in SAID]
    assert -1 not in places, f"not said: {SAID[places.index(-1)]}\n{told}"
    assert places == sorted(places)
    written = page.read_text()
    assert "INC-12: the index is built anew" in written
    assert "budget-tour/chat" in written
    cluster.wait("the tour to clean up", lambda: cluster.get("namespace", "budget-tour") is None)
    assert cluster.get("computepool", "budget-tour") is None
