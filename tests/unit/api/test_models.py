"""The models read what people write, and only what the API server would store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from modelservice.api.budgetpolicy import BudgetPolicy
from modelservice.api.computepool import ComputePool
from modelservice.api.kinds import KINDS
from modelservice.api.modelservice import ModelService
from pydantic import BaseModel, ValidationError

REPO = Path(__file__).resolve().parents[3]
MODELS: dict[str, type[BaseModel]] = {kind.name: kind.model for kind in KINDS}
RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}}


def documents() -> list[Any]:
    paths = [
        path for folder in ("examples/quickstart", "tests/manifests/good") for path in (REPO / folder).glob("*.yaml")
    ]
    written = [document for path in sorted(paths) for document in yaml.safe_load_all(path.read_text()) if document]
    return [
        pytest.param(document, id=f"{document['kind']}-{document['metadata']['name']}")
        for document in written
        if document["kind"] in MODELS
    ]


@pytest.mark.parametrize("document", documents())
def test_a_manifest_that_the_api_server_takes_is_read_and_written_without_loss(document: dict[str, Any]) -> None:
    model = MODELS[document["kind"]].model_validate(document)
    again = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert again == document


def service(**inference: Any) -> ModelService:
    return ModelService.model_validate(
        {
            "metadata": {"name": "x", "namespace": "team"},
            "spec": {
                "model": {"storageUri": "pvc://models/x"},
                "inference": {"runtime": "r", "resources": RESOURCES, **inference},
            },
        }
    )


def test_what_is_left_out_has_the_documented_value() -> None:
    inference = service(scaling={"scaleTarget": 4}).spec.inference
    assert inference is not None
    assert (inference.min_replicas, inference.max_replicas) == (1, None)
    assert inference.scaling is not None
    assert inference.scaling.scale_metric == "Concurrency"
    assert inference.scaling.scale_down_delay_seconds == 300
    assert (inference.env, inference.volumes, inference.args) == ((), (), ())


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert service(fromTheFuture={"a": 1}) == service()


def test_a_model_is_not_changed_after_it_was_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        service().spec.suspend = True  # type: ignore[misc]


@pytest.mark.parametrize("replicas", [-1, 10_001, 1.5, "many"])
def test_a_number_of_replicas_outside_the_range_is_refused(replicas: object) -> None:
    with pytest.raises(ValidationError, match="minReplicas"):
        service(minReplicas=replicas)


def test_money_is_text_and_never_a_float() -> None:
    spec = {"currency": "USD", "limit": 5.0, "period": {"calendar": "Day", "timeZone": "UTC"}}
    with pytest.raises(ValidationError, match="limit"):
        BudgetPolicy.model_validate({"metadata": {"name": "x"}, "spec": spec})


def test_billing_of_a_pool_is_complete_when_it_is_left_out() -> None:
    pool = ComputePool.model_validate(
        {
            "metadata": {"name": "cpu"},
            "spec": {
                "currency": "USD",
                "accelerator": {"type": "CPU"},
                "node": {"cpu": "4", "memory": "8Gi"},
                "nodeSelector": {"pool": "cpu"},
                "purchaseOptions": [{"type": "OnDemand", "perNodeHour": "0.2"}],
            },
        }
    )
    billing = pool.spec.billing
    assert (billing.from_, billing.stop_seconds, billing.tail_seconds) == ("Running", 120, 0)
    assert (billing.minimum_seconds, billing.margin_percent, pool.spec.start_seconds) == (0, 0, 60)
