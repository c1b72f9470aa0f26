"""A handful of queries that measure the work of all services at once, whatever engines they run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from modelservice.domain.demand import PodMetrics, Reading
from modelservice.domain.downloads import Progress
from modelservice.domain.specs import Role, Runtime
from modelservice.kit.errors import Unavailable
from modelservice.ports import MetricsSource, Sample

WINDOW = "2m"
"""A rate is that of the last two scrapes within this time: it follows the load whatever the scrape interval."""
LARGEST = 2**53
POD = 'namespace!="",pod!=""'


def queries(runtimes: Iterable[Runtime]) -> dict[str, str]:
    """PromQL by what it measures, grouped by the target's namespace and pod; a pod scraped twice counts once.

    Engines have names of their own, and new ones beside old ones: the earlier in a runtime's list comes first.
    """
    names: dict[str, dict[str, int]] = {}
    for runtime in runtimes:
        if runtime.role is Role.INFERENCE:
            for key, known in runtime.series.items():
                ranks = names.setdefault(key, {})
                ranks |= {name: min(rank, ranks.get(name, rank)) for rank, name in enumerate(known)}
    asked = {
        "up": f"min by (namespace, pod) (up{{{POD}}})",
        "scraped_at": f"min by (namespace, pod) (timestamp(up{{{POD}}}))",
    }
    for key, ranks in sorted(names.items()):
        order = sorted(ranks, key=lambda name: (ranks[name], name))
        asked[key] = " or ".join(_by_name(name, counter=key == "requests") for name in order)
    return asked


def _by_name(name: str, *, counter: bool) -> str:
    """One series summed over its labels; joined by `or`, the first name that a pod has counts."""
    selected = f"{name}{{{POD}}}"
    value = f"irate({selected}[{WINDOW}])" if counter else selected
    return f"max by (namespace, pod) (sum by (namespace, pod, job, instance) ({value}))"


async def read(source: MetricsSource | None, runtimes: Iterable[Runtime]) -> Reading:
    """Ask Prometheus; what goes wrong is a reading with a problem."""
    if source is None:
        return Reading(problem="No Prometheus is configured: set prometheus.url of the chart.")
    answers: dict[str, Sequence[Sample]] = {}
    try:
        for key, promql in queries(runtimes).items():
            answers[key] = await source.query(promql)
    except Unavailable as error:
        return Reading(problem=str(error))
    return assemble(answers)


DOWNLOADS = f'max by (__name__, namespace, pod) ({{__name__=~"modelservice_download_.+",{POD}}})'


async def read_downloads(source: MetricsSource) -> Mapping[tuple[str, str], Progress]:
    """How far downloads are, by (namespace, pod): what Prometheus knows now, and nothing where it does not answer."""
    try:
        return assemble_downloads(await source.query(DOWNLOADS))
    except Unavailable:
        return {}


def assemble_downloads(samples: Iterable[Sample]) -> dict[tuple[str, str], Progress]:
    """Put the series of each pod together; one of which a part is missing or is no number is left out."""
    seen: dict[tuple[str, str], dict[str, float]] = {}
    for sample in samples:
        pod = (sample.labels.get("namespace", ""), sample.labels.get("pod", ""))
        name = sample.labels.get("__name__", "").removeprefix("modelservice_download_")
        seen.setdefault(pod, {})[name] = sample.value
    found = {}
    for pod, values in seen.items():
        parts = [values.get(name, math.nan) for name in ("done_bytes", "total_bytes", "speed_bytes_per_second")]
        if all(math.isfinite(part) and 0 <= part <= LARGEST for part in parts):
            found[pod] = Progress(pod[1], *map(int, parts))
    return found


def assemble(answers: dict[str, Sequence[Sample]]) -> Reading:
    """Put the answers together by pod."""
    up, scraped = _by_pod(answers["up"]), _by_pod(answers["scraped_at"])
    series = {key: _by_pod(samples) for key, samples in answers.items() if key not in ("up", "scraped_at")}
    at = max((sample.at for samples in answers.values() for sample in samples), default=0.0)
    pods = {
        pod: PodMetrics(value, scraped.get(pod), {key: values[pod] for key, values in series.items() if pod in values})
        for pod, value in up.items()
    }
    return Reading(at, pods)


def _by_pod(samples: Iterable[Sample]) -> dict[tuple[str, str], float]:
    """Values by (namespace, pod); two values for one pod are none that can be trusted."""
    values: dict[tuple[str, str], float] = {}
    for sample in samples:
        pod = (sample.labels.get("namespace", ""), sample.labels.get("pod", ""))
        values[pod] = math.nan if pod in values else sample.value
    return values
