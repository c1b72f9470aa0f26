"""`modelservice rollout`: what it prints, and which annotation it sets."""

from __future__ import annotations

from typing import Any

import pytest
from modelservice.cli.rollout import Refused, annotate, promote, undo
from modelservice.render.labels import PROMOTE, UNDO
from modelservice.render.rollouttext import history_text, status_text
from modelservice.render.texttable import WIDTH


def row(revision: str, stage: str, served: str = "", **more: str) -> dict[str, str]:
    image = f"registry.example/engines/a-long-name-of-an-engine-for-{revision}:1.2.3"
    made = {"revision": revision, "stage": stage, "image": image, "uri": f"pvc://models/llm/{revision}"}
    return {**made, "createdTime": "2026-01-01T00:00:00Z", **({"servedTime": served} if served else {}), **more}


def status(own: str, *rows: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"resolved": {"revision": own}, "revisions": list(rows), "readyReplicas": 3, "desiredReplicas": 3, **more}


SERVING = row("bbbbbbbb", "Serving", "2026-02-01T00:00:00Z")
PAST = row("aaaaaaaa", "Retired", "2026-01-01T00:00:00Z")
CANARY = {"revision": "cccccccc", "percent": 20, "since": "2026-03-01T00:00:00Z"}
TRYING = status("cccccccc", row("cccccccc", "Canary"), SERVING, PAST, canary=CANARY)


def test_status_shows_who_gets_which_share_and_says_what_goes_on() -> None:
    said = {"type": "Progressing", "reason": "Canary", "message": "Revision cccccccc has 20 % of the requests."}
    lines = status_text(
        "ns/chat", {**TRYING, "conditions": [{"type": "Ready", "reason": "Serving"}, said]}
    ).splitlines()
    assert lines[0] == "ns/chat: Serving, 3 of 3 replicas ready"
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["REVISION", "STAGE", "REQUESTS"],
        ["cccccccc", "Canary", "20"],
        ["bbbbbbbb", "Serving", "80"],
        ["aaaaaaaa", "Retired", "-"],
    ]
    assert lines[-1] == "Canary: Revision cccccccc has 20 % of the requests."
    assert max(map(len, lines)) <= WIDTH


def test_history_fits_the_page_and_says_why_a_revision_was_taken_back() -> None:
    bad = row("dddddddd", "RolledBack", message="Half of it failed. " * 12)
    lines = history_text(status("dddddddd", bad, SERVING)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[4].startswith("dddddddd: Half of it failed.")
    assert history_text({}) == "No revision is known yet."
    assert "No revision is known yet." in status_text("ns/chat", {})


@pytest.mark.parametrize(
    ("seen", "to", "expected"),
    [
        (status("bbbbbbbb", SERVING, PAST), "", "bbbbbbbb/aaaaaaaa"),
        (TRYING, "", "cccccccc/bbbbbbbb"),
        (TRYING, "aaaaaaaa", "cccccccc/aaaaaaaa"),
        (status("cccccccc", row("cccccccc", "Starting"), SERVING, PAST), "", "cccccccc/bbbbbbbb"),
        (
            status("bbbbbbbb", row("bbbbbbbb", "Undone", "2026-02-01T00:00:00Z"), row("aaaaaaaa", "Serving", "x")),
            "",
            None,
        ),
    ],
)
def test_undo_goes_to_what_serves_beside_something_new_else_to_what_served_before(
    seen: dict[str, Any], to: str, expected: str | None
) -> None:
    assert undo(seen, to)[0] == {UNDO: expected}


@pytest.mark.parametrize(
    ("seen", "to", "said"),
    [
        ({}, "", "not known yet"),
        (status("bbbbbbbb", SERVING), "", "nothing to go back to"),
        (TRYING, "ffffffff", "ffffffff is not remembered"),
        (status("bbbbbbbb", SERVING, row("eeeeeeee", "RolledBack")), "eeeeeeee", "has never served"),
    ],
)
def test_an_undo_to_nowhere_is_refused(seen: dict[str, Any], to: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        undo(seen, to)


def test_only_a_canary_can_be_promoted() -> None:
    assert promote(TRYING)[0] == {PROMOTE: "cccccccc"}
    with pytest.raises(Refused, match="no canary"):
        promote(status("bbbbbbbb", SERVING))


def test_an_annotation_is_written_only_on_the_version_that_was_read() -> None:
    bare = {"metadata": {"resourceVersion": "7"}}
    test, made, added = annotate(bare, {UNDO: "a/b"})
    assert (test["value"], made["value"], added["value"]) == ("7", {}, "a/b")
    assert added["path"] == "/metadata/annotations/modelservice.dev~1rollout-undo"
    noted = {"metadata": {"resourceVersion": "7", "annotations": {UNDO: "a/b"}}}
    assert [one["op"] for one in annotate(noted, {UNDO: None})] == ["test", "remove"]
    assert [one["op"] for one in annotate(bare, {UNDO: None})] == ["test", "add"]
