"""schemathesis over the page of the API: whatever it sends, the server does not fail."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error


@pytest.mark.slow
def test_no_request_makes_the_server_fail(client):
    page = schemathesis.openapi.from_url(f"{str(client.base_url).rstrip('/')}/openapi.json")
    operations = [result.ok() for result in page.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def ask(case):
            response = case.call()
            if response.status_code == 504 and isinstance(case.body, dict) and "deadline_ms" in case.body:
                return  # it asked for an answer in 10⁻⁹⁵ ms, say
            case.validate_response(response, checks=[not_a_server_error])

        ask()
