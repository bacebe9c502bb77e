"""Schemathesis reads the archive's own OpenAPI document and tries what it allows: nothing may end in a 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from interop import corpus, harness
from interop.test_dicomweb_client import session_for

pytestmark = pytest.mark.xdist_group("openapi")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, requests.Session]]:
    """An archive with one study and a token that may search, view, retrieve and deposit."""
    with harness.archive(tmp_path_factory.mktemp("openapi")) as archive:
        archive.command("import", str(corpus.shipped("CT_small.dcm")))
        yield archive.web, session_for(archive, archive.token("tester", "radiologist", "modality"))


def test_nothing_that_the_document_allows_is_a_5xx(web: tuple[str, requests.Session]) -> None:
    """Every operation of the document, with generated parameters, paths and bodies."""
    url, session = web
    document = session.get(f"{url}/openapi.json", timeout=30)
    assert document.status_code == 200
    schema = schemathesis.openapi.from_dict(document.json())
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=15,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @schemathesis_case(operation)
        def attempt(case: schemathesis.Case) -> None:
            answer = case.call(base_url=url, session=session, verify=session.verify, timeout=60)
            assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.text[:300])

        attempt()
        tried += 1

    assert tried >= 20


def schemathesis_case(operation):  # noqa: D103 -- hypothesis' given over one operation
    from hypothesis import given

    return given(case=operation.as_strategy())
