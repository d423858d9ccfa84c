"""Requests made from /openapi.json, valid and invalid ones: each is answered as described there."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import TOKEN

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    ("get", "/search"),
    ("post", "/search"),
    ("get", "/similar"),
    ("get", "/about"),
    ("get", "/thread"),
    ("post", "/v1/embeddings"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/health"),
    ("get", "/metrics"),
]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def described(server: Any) -> Any:
    url = f"http://127.0.0.1:{server.port}"
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=HEADERS)


def test_every_operation_is_tried(described: Any) -> None:
    operations = [result.ok() for result in described.get_all_operations()]
    assert sorted((one.method, one.path) for one in operations) == sorted(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_answer_is_one_of_those_described(
    described: Any, method: str, path: str, mode: GenerationMode
) -> None:
    operation = described[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        pytest.skip("it takes nothing that could be invalid")

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.validate_response(case.call(headers=HEADERS), checks=CHECKS)

    ask()
