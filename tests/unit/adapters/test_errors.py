import json

import pytest
from modelservice.adapters.errors import from_response, from_silence
from modelservice.kit.errors import (
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unavailable,
)


def status(**fields: object) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", **fields}).encode()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Invalid),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Expired),
        (415, Invalid),
        (418, Invalid),
        (422, Invalid),
        (429, TooManyRequests),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_each_status_has_its_error(code: int, kind: type[ApiError]) -> None:
    error = from_response(code, {}, status(message='pods "a" is so', reason="So"), "GET /api/v1/pods")
    assert type(error) is kind
    assert (error.status, error.reason) == (code, "So")
    assert str(error) == 'GET /api/v1/pods: pods "a" is so'


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, status(), 7),
        ({"Retry-After": "7"}, status(details={"retryAfterSeconds": 9}), 7),
        ({}, status(details={"retryAfterSeconds": 9}), 9),
        ({}, b"", 1),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", 1),
    ],
    ids=["header", "the header wins", "details", "nothing said", "a date is not understood"],
)
def test_how_long_to_wait_is_taken_from_the_header_or_the_details(
    headers: dict[str, str], body: bytes, seconds: float
) -> None:
    error = from_response(429, headers, body, "PUT /x")
    assert isinstance(error, TooManyRequests)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"404 page not found\n", "404 page not found"),
        (b"[]", "the server answered 404"),
        (b"", "the server answered 404"),
    ],
)
def test_an_answer_that_is_no_status_object_still_makes_a_sentence(body: bytes, sentence: str) -> None:
    assert str(from_response(404, {}, body, "GET /x")) == f"GET /x: {sentence}"


def test_a_taken_name_is_told_from_a_stale_version() -> None:
    taken = from_response(409, {}, status(reason="AlreadyExists"), "POST /x")
    stale = from_response(409, {}, status(reason="Conflict"), "PUT /x")
    assert isinstance(taken, Conflict)
    assert isinstance(stale, Conflict)
    assert taken.already_exists
    assert not stale.already_exists


def test_an_apply_to_an_object_that_was_made_anew_is_a_conflict() -> None:
    causes = [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]
    error = from_response(422, {}, status(reason="Invalid", details={"causes": causes}), "PATCH /x")
    assert type(error) is Conflict
    other = from_response(
        422, {}, status(reason="Invalid", details={"causes": [{"field": "spec.replicas"}]}), "PATCH /x"
    )
    assert type(other) is Invalid


def test_silence_names_the_request_even_when_the_error_says_nothing() -> None:
    assert str(from_silence(TimeoutError(), "GET /x")) == "GET /x: TimeoutError"
    assert str(from_silence(OSError("connection reset"), "GET /x")) == "GET /x: connection reset"
