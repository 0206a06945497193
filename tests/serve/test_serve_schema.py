"""schemathesis over the page of the API: the server does not fail, and answers as the page says."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks
from serving import ADMIN_KEY, API_KEY, PATIENCE, serving

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.unsupported_method,
]


@pytest.fixture(scope="module")
def guarded(trained_bundle, tmp_path_factory):
    """Address of a server that asks for keys."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "api").write_text(API_KEY)
    (folder / "admin").write_text(ADMIN_KEY)
    keys = {"api_key_file": str(folder / "api"), "admin_key_file": str(folder / "admin")}
    with serving(bundle=str(trained_bundle), **keys) as url:
        yield url


def operations(url, headers):
    page = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers)
    found = [result.ok() for result in page.get_all_operations()]
    assert len(found) > 15
    return found


@pytest.mark.slow
@pytest.mark.parametrize("keys", [False, True], ids=["without keys", "with keys"])
def test_every_answer_is_as_the_page_says(client, guarded, keys):
    url = guarded if keys else str(client.base_url).rstrip("/")
    api, admin = ({"authorization": f"Bearer {key}"} if keys else {} for key in (API_KEY, ADMIN_KEY))
    for operation in operations(url, api):
        asking(operation, admin if operation.path.startswith("/admin/") else api)()


def asking(operation, headers):
    """A function that asks an operation with many requests."""

    @given(case=operation.as_strategy())
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        response = case.call(headers=headers)
        if response.status_code == 504 and isinstance(case.body, dict) and "deadline_ms" in case.body:
            return  # it asked for an answer in 10⁻⁹⁵ ms, say
        case.validate_response(response, checks=CHECKS)

    return ask


def test_the_page_tells_which_key_opens_what(guarded, client):
    page = httpx.get(f"{guarded}/openapi.json", headers={"authorization": f"Bearer {API_KEY}"}, timeout=PATIENCE)
    paths, schemes = page.json()["paths"], page.json()["components"]["securitySchemes"]
    assert set(schemes) == {"key", "admin"}
    assert paths["/v1/rank"]["post"]["security"] == [{"key": []}]
    assert paths["/admin/reload"]["post"]["security"] == [{"admin": []}]
    assert "security" not in paths["/health"]["get"]
    assert "401" in paths["/v1/rank"]["post"]["responses"]
    open_page = client.get("/openapi.json").json()
    assert "securitySchemes" not in open_page["components"]
    assert "401" not in open_page["paths"]["/v1/rank"]["post"]["responses"]


@pytest.mark.parametrize(
    ("path", "schema", "body"),
    [
        ("/v1/rank", "OnyxrankError", {}),
        ("/rerank", "TeiError", {}),
        ("/v1/rerank", "CohereError", {}),
        ("/v2/rerank", "CohereError", {}),
        ("/jina/v1/rerank", "JinaError", {}),
        ("/v2/models/{model}/infer", "OpenInferenceError", {}),
        ("/page/rank", "OnyxrankError", {}),
        ("/admin/reload", "OnyxrankError", {}),
    ],
    ids=lambda value: str(value),
)
def test_errors_have_the_shape_of_their_api(client, path, schema, body):
    page = client.get("/openapi.json").json()
    responses = page["paths"][path]["post"]["responses"]
    for status in ("400", "413", "415", "422", "500", "503"):
        assert responses[status]["content"]["application/json"]["schema"] == {
            "$ref": f"#/components/schemas/{schema}"
        }
    answer = client.post(path.format(model="shop"), json=body).json()
    described = page["components"]["schemas"][schema]
    assert set(answer) == set(described["properties"])
    assert "HTTPValidationError" not in page["components"]["schemas"]
