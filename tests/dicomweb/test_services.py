"""The table, and the documents that are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest

from dicomweb.place import BASE, Shared, shared
from strongroom.dicomweb.routes import ACTIONS, ADMITTED, Router
from strongroom.dicomweb.services import table


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """An empty archive."""
    yield from shared(tmp_path_factory.mktemp("services") / "home")


def test_every_row_has_an_action() -> None:
    """And only what says nothing about what is kept is for whoever was let in."""
    rows = table()

    assert {route.action for route in rows} <= ACTIONS
    assert {"/", "/openapi.json"} == {route.template for route in rows if route.action == ADMITTED}
    assert rows == Router(rows).table


def test_every_retrieval_needs_view_or_retrieve() -> None:
    """Whole instances are retrieved, the rest is viewed; search, store and delete have actions of their own."""
    needed = {(route.method, route.template.rpartition("/")[2]): route.action for route in table()}

    assert "retrieve" == needed["GET", "{instance}"] == needed["GET", "{study}"]
    assert {"view"} == {
        needed["GET", tail] for tail in ("metadata", "{frames}", "{path}", "rendered", "thumbnail", "wado")
    }
    assert "delete" == needed["DELETE", "{study}"]
    assert "deposit" == needed["POST", "studies"]
    assert "query" == needed["GET", "studies"]


@pytest.mark.parametrize("path", ["", "/"])
def test_capabilities(place: Shared, path: str) -> None:
    """WADL by default, JSON where it is asked for; the base is that of the configuration."""
    answer = place.ask(path, method="OPTIONS")
    root = ET.fromstring(answer.content)
    (resources,) = root

    assert "application/vnd.sun.wadl+xml" == answer.headers["content-type"]
    assert BASE == resources.attrib["base"]
    assert len({route.template for route in table()}) == len(resources)

    found = place.ask(path, "application/json", method="OPTIONS").json()
    assert {route.template for route in table()} == {one["path"] for one in found["resources"]}
    assert 401 == place.ask(path, method="OPTIONS", token="").status_code
    assert 406 == place.ask(path, "text/html", method="OPTIONS").status_code


def test_openapi(place: Shared) -> None:
    """Every row and no other; only for whoever was let in."""
    found = place.ask("/openapi.json").json()

    assert "3.1.0" == found["openapi"]
    assert BASE == found["servers"][0]["url"]
    assert {(route.method.lower(), route.template) for route in table()} == {
        (method, template) for template, methods in found["paths"].items() for method in methods
    }
    operations = [one["operationId"] for methods in found["paths"].values() for one in methods.values()]
    assert len(operations) == len(set(operations))
    assert 401 == place.ask("/openapi.json", token="").status_code
