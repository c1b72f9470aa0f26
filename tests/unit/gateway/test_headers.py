from __future__ import annotations

from modelservice.gateway.headers import answer_head, closes, request_head, request_id_of


def head(*raw: tuple[bytes, bytes], length: int | None = 2, method: str = "POST") -> list[bytes]:
    made = request_head(method, "/x", raw, length=length, client="10.0.0.9", host="llm.team", request_id="id-1")
    assert made.endswith(b"\r\n\r\n")
    return made[:-4].split(b"\r\n")


def test_what_concerns_one_connection_does_not_pass() -> None:
    lines = head(
        (b"Host", b"llm.team"),
        (b"Connection", b"keep-alive, X-Private"),
        (b"X-Private", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"TE", b"trailers"),
        (b"Upgrade", b"h2c"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Expect", b"100-continue"),
        (b"Accept", b"*/*"),
    )
    assert lines == [
        b"POST /x HTTP/1.1",
        b"Host: llm.team",
        b"Accept: */*",
        b"X-Forwarded-For: 10.0.0.9",
        b"X-Forwarded-Host: llm.team",
        b"X-Request-Id: id-1",
        b"Content-Length: 2",
    ]


def test_proxies_before_us_stay_known() -> None:
    lines = head(
        (b"X-Forwarded-For", b"1.2.3.4"), (b"x-forwarded-for", b"5.6.7.8"), (b"X-Forwarded-Host", b"api.example")
    )
    assert b"X-Forwarded-For: 1.2.3.4, 5.6.7.8, 10.0.0.9" in lines
    assert b"X-Forwarded-Host: api.example" in lines


def test_a_body_of_unknown_length_goes_in_chunks_and_none_needs_no_length() -> None:
    assert head(length=None)[-1] == b"Transfer-Encoding: chunked"
    assert head(length=0)[-1] == b"Content-Length: 0"
    assert head(length=0, method="GET")[-1] == b"X-Request-Id: id-1"


def test_repeated_headers_and_odd_bytes_pass_as_they_are() -> None:
    raw = ((b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=\xff"), (b"Connection", b"close"), (b"X-Request-Id", b"other"))
    made = answer_head(200, "OK", raw, request_id="id-1", more=(b"Connection: close",))
    lines = [b"HTTP/1.1 200 OK", b"Set-Cookie: a=1", b"Set-Cookie: b=\xff", b"X-Request-Id: id-1", b"Connection: close"]
    assert made.split(b"\r\n") == [*lines, b"", b""]


def test_an_id_is_taken_from_the_client_when_it_is_short_and_plain() -> None:
    assert request_id_of({"X-Request-Id": "abc-123"}) == "abc-123"
    assert [request_id_of({"X-Request-Id": one}) for one in ("", "a b", "x" * 129, "ä")] == [None] * 4


def test_a_connection_that_ends_is_seen() -> None:
    assert closes(((b"connection", b"Close"),))
    assert not closes(((b"connection", b"keep-alive"), (b"x", b"close")))
