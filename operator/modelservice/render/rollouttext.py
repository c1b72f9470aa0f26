"""The revisions of a service as text: tables of 100 columns."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from modelservice.render.costtext import shorten
from modelservice.render.texttable import WIDTH, align

Status = Mapping[str, Any]

NEVER = "-"
IMAGE_WIDTH = 28
MODEL_WIDTH = 27


def status_text(name: str, status: Status) -> str:
    """How the rollout of a service stands: who gets which share of the requests, and what the operator says."""
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    ready, progressing = conditions.get("Ready", {}), conditions.get("Progressing", {})
    replicas = f"{status.get('readyReplicas', 0)} of {status.get('desiredReplicas', 0)} replicas ready"
    lines = [f"{name}: {ready.get('reason', 'not seen yet')}, {replicas}", ""]
    canary = status.get("canary") or {}
    rows = [("REVISION", "STAGE", "REQUESTS", "SINCE", "IMAGE")]
    for one in status.get("revisions") or ():
        share = _share(one, canary)
        since = canary["since"] if share and one["stage"] == "Canary" else one.get("servedTime", NEVER)
        rows.append((one["revision"], one["stage"], share or NEVER, since, shorten(one.get("image", NEVER), 44)))
    lines += align(rows, "lllll") if len(rows) > 1 else ["No revision is known yet."]
    if progressing:
        lines += ["", *wrap(f"{progressing['reason']}: {progressing['message']}", WIDTH)]
    return "\n".join(lines)


def _share(row: Mapping[str, Any], canary: Mapping[str, Any]) -> str:
    if row["revision"] == canary.get("revision"):
        return f"{canary['percent']} %"
    return f"{100 - canary.get('percent', 0)} %" if row["stage"] == "Serving" else ""


def history_text(status: Status) -> str:
    """The revisions that are remembered, the newest first, and why one was taken back."""
    rows = [("REVISION", "STAGE", "CREATED", "IMAGE", "MODEL")]
    notes: list[str] = []
    for one in status.get("revisions") or ():
        image, model = shorten(one.get("image", NEVER), IMAGE_WIDTH), shorten(one.get("uri", NEVER), MODEL_WIDTH)
        rows.append((one["revision"], one["stage"], one.get("createdTime", NEVER), image, model))
        if one.get("message"):
            notes += ["", *wrap(f"{one['revision']}: {one['message']}", WIDTH)]
    return "\n".join([*align(rows, "lllll"), *notes]) if len(rows) > 1 else "No revision is known yet."
