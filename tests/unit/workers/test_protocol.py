"""Requests of the Open Inference Protocol: what is taken, what is refused and with which words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.oip.errors import RequestError
from modelservice_workers.serving.oip.request import InferenceRequest, parse_request
from modelservice_workers.serving.oip.response import render_response

ROWS = Range("rows", 1, 8)


def one_input(datatype: str, *dims: int | Range) -> Signature:
    return Signature((TensorSpec("x", datatype, dims),), (TensorSpec("y", "FP32", (ROWS, 2)),))


def body(data: Any, datatype: str = "FP32", shape: Any = (2, 2), **fields: Any) -> bytes:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    return json.dumps({"inputs": [tensor], **fields}).encode()


def parse(content: bytes, signature: Signature) -> InferenceRequest:
    return parse_request(content, None, signature)


def refusal(content: bytes, signature: Signature) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(content, signature)
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message
    return caught.value


MATRIX = one_input("FP32", ROWS, 2)


@pytest.mark.parametrize(
    ("datatype", "smallest", "largest"),
    [
        ("INT8", -(2**7), 2**7 - 1),
        ("INT16", -(2**15), 2**15 - 1),
        ("INT32", -(2**31), 2**31 - 1),
        ("INT64", -(2**63), 2**63 - 1),
        ("UINT8", 0, 2**8 - 1),
        ("UINT16", 0, 2**16 - 1),
        ("UINT32", 0, 2**32 - 1),
        ("UINT64", 0, 2**64 - 1),
    ],
)
def test_integers_are_taken_to_their_bounds_and_refused_beyond(datatype: str, smallest: int, largest: int) -> None:
    signature = one_input(datatype, ROWS)
    (array,) = parse(body([smallest, largest], datatype, [2]), signature).inputs
    assert array.tolist() == [smallest, largest]
    assert array.dtype.name == datatype.lower()
    for value in (smallest - 1, largest + 1):
        error = refusal(body([value], datatype, [1]), signature)
        assert error.status == 400


@pytest.mark.parametrize("value", [1.5, 1.0, True, "1", None, [1]])
def test_an_integer_tensor_takes_whole_numbers_only(value: Any) -> None:
    error = refusal(body([0, value], "INT32", [2]), one_input("INT32", ROWS))
    assert (error.status, error.message) == (400, "Input x is INT32 and its data may hold whole numbers only.")


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", None])
def test_a_boolean_tensor_takes_true_and_false_only(value: Any) -> None:
    signature = one_input("BOOL", ROWS)
    assert parse(body([True, False], "BOOL", [2]), signature).inputs[0].tolist() == [True, False]
    assert refusal(body([True, value], "BOOL", [2]), signature).status == 400


@pytest.mark.parametrize("value", [True, "1", None, [1.0], {}])
def test_a_float_tensor_takes_numbers_only(value: Any) -> None:
    error = refusal(body([1.0, 2.0, 3.0, value]), MATRIX)
    assert (error.status, error.message) == (400, "Input x is FP32 and its data may hold numbers only.")


def test_whole_numbers_may_stand_for_floats() -> None:
    (array,) = parse(body([1, 2, 3, 4.5]), MATRIX).inputs
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2], [3, 4.5]]


@pytest.mark.parametrize("value", ["1e39", "-1e39", "3.5e38", "1" + "0" * 60])
def test_a_float_beyond_the_range_of_fp32_is_out_of_range(value: str) -> None:
    error = refusal(body([1, 2, 3, 4]).replace(b"4", value.encode()), MATRIX)
    assert (error.status, error.message) == (400, "Input x holds a value that is out of range for FP32.")


def test_fp64_takes_what_fp32_cannot() -> None:
    (array,) = parse(body([1e39, -1e300], "FP64", [2]), one_input("FP64", ROWS)).inputs
    assert array.tolist() == [1e39, -1e300]


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize(
    "token", ["NaN", "Infinity", "-Infinity", "nan", "inf", "1e400", "-1e400", "0x10", "1_0", "+1"]
)
def test_tokens_that_are_no_json_numbers_are_invalid_json(token: str, datatype: str) -> None:
    content = body([1, 2, 3, 77], datatype).replace(b"77", token.encode())
    error = refusal(content, one_input(datatype, ROWS, 2))
    assert error.status == 400
    assert error.message.startswith("The body is not valid JSON: ")


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_data_may_be_flat_or_nested(data: Any) -> None:
    (array,) = parse(body(data), MATRIX).inputs
    assert array.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "data",
    [
        [[1, 2], [3]],
        [[1, 2], 3, 4],
        [[1, 2, 3, 4]],
        [[[1], [2]], [[3], [4]]],
        [1, 2, [3, 4]],
        [[1, 2], [3, 4], [5, 6]],
        [[], []],
    ],
)
def test_nested_data_of_another_shape_is_refused(data: Any) -> None:
    assert refusal(body(data), MATRIX).status == 400


def test_the_number_of_values_must_be_the_product_of_the_shape() -> None:
    error = refusal(body([1, 2, 3]), MATRIX)
    assert (error.status, error.message) == (400, "Input x has 3 values and its shape [2, 2] needs 4.")


@pytest.mark.parametrize("data", [None, "1,2,3,4", 5, {"0": 1}])
def test_data_must_be_a_list(data: Any) -> None:
    assert refusal(body(data), MATRIX).message == "Input x needs its values in a list called data."


@pytest.mark.parametrize("shape", [None, 2, "2,2", [2.0, 2], [True, 2], [0, 2], [-1, 2], ["2", 2], [2, None]])
def test_a_shape_is_a_list_of_whole_numbers_above_zero(shape: Any) -> None:
    error = refusal(body([1, 2, 3, 4], shape=shape), MATRIX)
    assert error.message == "Input x needs a shape: a list of whole numbers above 0."


@pytest.mark.parametrize("shape", [[4], [2, 2, 1], [1, 4], [4, 1], [9, 2], [10**18, 10**18]])
def test_a_shape_must_fit_the_signature(shape: list[int]) -> None:
    error = refusal(body([1, 2, 3, 4], shape=shape), MATRIX)
    assert error.message == f"Input x has shape {shape} and the model takes [-1, 2] where -1 stands for 1 to 8."


def test_sizes_that_belong_together_must_agree() -> None:
    pair = Signature(
        tuple(TensorSpec(name, "INT64", (ROWS, Range("length"))) for name in ("ids", "mask")),
        (TensorSpec("y", "FP32", (ROWS,)),),
    )

    def request(length: int) -> bytes:
        ids = {"name": "ids", "datatype": "INT64", "shape": [1, 3], "data": [1, 2, 3]}
        mask = {"name": "mask", "datatype": "INT64", "shape": [1, length], "data": [1] * length}
        return json.dumps({"inputs": [mask, ids]}).encode()

    assert [array.shape for array in parse(request(3), pair).inputs] == [(1, 3), (1, 3)]
    assert "Input mask has shape [1, 4]" in refusal(request(4), pair).message


def test_a_scalar_has_an_empty_shape() -> None:
    (array,) = parse(body([3], "INT64", []), one_input("INT64")).inputs
    assert (array.shape, array.item()) == ((), 3)


@pytest.mark.parametrize("datatype", ["FP64", "INT64", "fp32", "STRING", "", None, 32])
def test_another_datatype_than_the_models_is_refused(datatype: Any) -> None:
    assert refusal(body([1, 2, 3, 4], datatype), MATRIX).status == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"inputs"',
        b"\xff\xfe",
        b"[" * 5000,
        b"{}",
        b'{"inputs": []}',
        b'{"inputs": {}}',
        b'{"inputs": [1]}',
        b'{"inputs": [{}]}',
        b'{"inputs": [{"name": 1}]}',
        b'{"inputs": [{"name": "z", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}',
        body([1, 2, 3, 4], parameters=[]),
        body([1, 2, 3, 4], id=7),
        body([1, 2, 3, 4], outputs={"name": "y"}),
        body([1, 2, 3, 4], outputs=["y"]),
        body([1, 2, 3, 4], outputs=[{"name": "z"}]),
        body([1, 2, 3, 4], outputs=[{"name": "y"}, {"name": "y"}]),
    ],
)
def test_malformed_requests_are_refused_with_a_sentence(content: bytes) -> None:
    assert refusal(content, MATRIX).status == 400


def test_inputs_are_named_once_each() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    twice = json.dumps({"inputs": [tensor, tensor]}).encode()
    assert refusal(twice, MATRIX).message == "The request gives input x twice."
    more = json.dumps({"inputs": [tensor, {**tensor, "name": "z"}]}).encode()
    assert refusal(more, MATRIX).message == "The model has no input z; it takes x."


def test_other_parameters_are_tolerated() -> None:
    content = body(
        [1, 2, 3, 4],
        parameters={"priority": 1, "binary_data_output": False},
        outputs=[{"name": "y", "parameters": {"binary_data": False}}],
    )
    assert parse(content, MATRIX).outputs == [0]


@pytest.mark.parametrize("identity", ["", "a-1", "ünï", None])
def test_an_id_is_echoed_and_none_is_made_up(identity: str | None) -> None:
    request = parse(body([1, 2, 3, 4], id=identity), MATRIX)
    answer = json.loads(render_response("m", "1", request, MATRIX.outputs, [np.ones((2, 2), np.float32)]).body)
    assert answer.get("id") == identity
    assert ("id" in answer) == (identity is not None)


def test_an_answer_holds_the_selected_outputs_in_the_order_asked_for() -> None:
    specs = tuple(TensorSpec(name, "INT16", (ROWS,)) for name in ("a", "b", "c"))
    signature = Signature(MATRIX.inputs, specs)
    request = parse(body([1, 2, 3, 4], outputs=[{"name": "c"}, {"name": "a"}]), signature)
    arrays = [np.full(2, value, np.int16) for value in (1, 2, 3)]
    answer = json.loads(render_response("m", "7", request, specs, arrays).body)
    assert answer == {
        "model_name": "m",
        "model_version": "7",
        "outputs": [
            {"name": "c", "datatype": "INT16", "shape": [2], "data": [3, 3]},
            {"name": "a", "datatype": "INT16", "shape": [2], "data": [1, 1]},
        ],
    }


def test_floats_are_written_so_that_they_read_back_the_same() -> None:
    values = np.random.default_rng(5).standard_normal((64, 2)).astype(np.float32)
    request = parse(body([1, 2, 3, 4]), MATRIX)
    answer = json.loads(render_response("m", "1", request, MATRIX.outputs, [values.T.copy().T]).body)
    assert np.array_equal(np.array(answer["outputs"][0]["data"], np.float32), values.ravel())
