"""The vocabulary of the kinds: bounded strings and numbers, and what Kubernetes reads beside a JSON schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GROUP: Final = "modelservice.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "modelservice.dev/v1alpha1"


class Shape(BaseModel):
    """A part of a kind: camelCase on the wire, frozen in memory; fields of a newer version of the API are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True, extra="ignore"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Kube:
    """Keys for the schema of an annotated type that JSON schema does not know, in the API server's spelling."""

    keys: dict[str, Any] = field(default_factory=dict)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        rules = [*schema.get("x-kubernetes-validations", ()), *self.keys.get("x-kubernetes-validations", ())]
        schema.update(self.keys)
        if rules:
            schema["x-kubernetes-validations"] = rules
        return schema


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as (expression, the sentence a person reads when it does not hold)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def rule(expression: str, message: str) -> Kube:
    """One CEL rule on the annotated value."""
    return Kube(rules((expression, message)))


def keyed(by: str) -> Kube:
    """A list of objects that are merged and told apart by one of their fields."""
    return Kube({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [by]})


SET = Kube({"x-kubernetes-list-type": "set"})
ATOMIC = Kube({"x-kubernetes-list-type": "atomic"})
DATE_TIME = Kube({"format": "date-time"})

AMOUNT = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?$"
LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
QUALIFIED = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"
INSTANT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
ONE_LINE = r"^[^[:cntrl:]]*[^[:space:][:cntrl:]][^[:cntrl:]]*$"
CLAIM_PATH = r"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9_][-A-Za-z0-9_.=@]*)+$"

HUB = r"^hf://[A-Za-z0-9_][-A-Za-z0-9_.]*/[A-Za-z0-9_][-A-Za-z0-9_.]*(@[-A-Za-z0-9_.]+)?(/[^/[:space:]?#]+)*/?$"
REMOTE = r"^(s3|gs|http|https)://[^/[:space:]?#@]+(/[^[:space:]?#]*)?$"


def amount(what: str) -> Kube:
    """The rule for money that a person writes: above zero, at most six decimals."""
    return rule(
        f"self.matches('{AMOUNT.replace(chr(92), chr(92) * 2)}') && double(self) > 0.0",
        f'{what} must be a decimal number above 0 with at most 6 decimals, in quotes, for example "5.00".',
    )


def claim_path(what: str) -> Kube:
    """The rule for a place on a persistent volume claim of the same namespace."""
    return rule(
        f"self.matches('{CLAIM_PATH}')",
        f"{what} must be pvc://<claim>/<path>, for example pvc://models/autoencoder; "
        "a path segment must start with a letter, a digit or an underscore.",
    )


def model_address(what: str) -> tuple[Kube, ...]:
    """The rules for a place from which a model is served: on a claim of the namespace, or to be downloaded."""
    return (
        rule(
            "self.matches('^(pvc|hf|s3|gs|http|https)://')",
            f"{what} must begin with pvc://, hf://, s3://, gs://, https:// or http://.",
        ),
        rule(
            f"!self.startsWith('pvc://') || self.matches('{CLAIM_PATH}')",
            f"{what} must be pvc://<claim>/<path>, for example pvc://models/autoencoder; "
            "a path segment must start with a letter, a digit or an underscore.",
        ),
        rule(
            f"!self.startsWith('hf://') || self.matches('{HUB}')",
            f"{what} must be hf://<organisation>/<name>, and may end with @<branch, tag or commit> and /<file>.",
        ),
        rule(
            f"!self.matches('^(s3|gs|http|https)://') || self.matches('{REMOTE}')",
            f"{what} must name a bucket or host and a path, without blanks, user names, '?' and '#': "
            "for example s3://models/chat or https://example.com/models/chat.",
        ),
        rule(
            "self.startsWith('pvc://') || !self.matches('/[.][.]?(/|$)')",
            f"{what} must not have a path segment '.' or '..'.",
        ),
    )


def qualified_keys(what: str) -> Kube:
    """The rule for a map whose keys are names of labels or resources, which a schema alone cannot bound."""
    return rule(
        f"self.all(key, key.size() <= 316 && key.matches('{QUALIFIED}'))",
        f"Keys of {what} must be qualified names, for example memory or nvidia.com/gpu.",
    )


Label = Annotated[str, Field(min_length=1, max_length=63, pattern=LABEL)]
Subdomain = Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)]
Qualified = Annotated[str, Field(min_length=1, max_length=316, pattern=QUALIFIED)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
FormatName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=QUANTITY)]
Currency = Annotated[str, Field(min_length=3, max_length=3, pattern=r"^[A-Z]{3}$")]
MoneyText = Annotated[str, Field(max_length=32, pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$")]
Timestamp = Annotated[str, Field(max_length=40), DATE_TIME]
Short = Annotated[str, Field(max_length=253)]
Word = Annotated[str, Field(max_length=4096)]
Sentence = Annotated[str, Field(max_length=8192)]
Generation = Annotated[int, Field(ge=0, le=2**53)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
