"""How far a download is, for people."""

from __future__ import annotations

import pytest
from modelservice.domain.downloads import Progress


@pytest.mark.parametrize(
    ("done", "total", "speed", "percent", "remaining", "text"),
    [
        (0, 0, 0, 0, 0, "0 % of 0.0 MB, 0 s left"),
        (0, 1000, 0, 0, None, "0 % of 0.0 MB, time left unknown"),
        (999, 1000, 300, 99, 1, "99 % of 0.0 MB, 1 s left"),
        (41_040_000, 91_200_000, 10_000_000, 45, 6, "45 % of 91.2 MB, 6 s left"),
        (1000, 1000, 0, 100, 0, "100 % of 0.0 MB, 0 s left"),
        (1500, 1000, 5, 100, 0, "100 % of 0.0 MB, 0 s left"),
    ],
)
def test_progress_is_told_in_percent_and_seconds(
    done: int, total: int, speed: int, percent: int, remaining: int | None, text: str
) -> None:
    progress = Progress("p", done, total, speed)
    assert (progress.percent, progress.remaining, str(progress)) == (percent, remaining, text)
