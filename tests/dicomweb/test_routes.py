"""Which resource a path names, and that no row can be open."""

from __future__ import annotations

import pytest
from starlette.responses import Response

from strongroom.dicomweb.call import Call
from strongroom.dicomweb.routes import Route, Router
from strongroom.errors import ConfigurationError


async def handler(_call: Call) -> Response:
    """What no test here calls."""
    raise NotImplementedError


def row(template: str, action: str = "query", method: str = "GET") -> Route:
    """A row of the table."""
    return Route(method, template, action, handler, "for a test")


INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
ROUTER = Router(
    [
        row("/"),
        row("/studies"),
        row("/studies/{study}"),
        row("/studies/{study}/metadata"),
        row(f"{INSTANCE}/frames/{{frames}}"),
        row(f"{INSTANCE}/frames/{{frame}}/rendered"),
        row(f"{INSTANCE}/bulkdata/{{path}}"),
        row("/studies", "deposit", "POST"),
    ]
)
BELOW = "/studies/1.2/series/3.4/instances/5.6"


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        ("", "/", {}),
        ("/", "/", {}),
        ("/studies", "/studies", {}),
        ("/studies/1.2.3", "/studies/{study}", {"study": "1.2.3"}),
        ("/studies/1.2/metadata", "/studies/{study}/metadata", {"study": "1.2"}),
        (f"{BELOW}/frames/3,1,2", f"{INSTANCE}/frames/{{frames}}", {"frames": "3,1,2"}),
        (f"{BELOW}/frames/3%2C1", f"{INSTANCE}/frames/{{frames}}", {"frames": "3,1"}),
        (f"{BELOW}/frames/3/rendered", f"{INSTANCE}/frames/{{frame}}/rendered", {"frame": "3"}),
        (f"{BELOW}/bulkdata/7FE00010", f"{INSTANCE}/bulkdata/{{path}}", {"path": "7FE00010"}),
        (f"{BELOW}/bulkdata/00880200/0/7FE00010", f"{INSTANCE}/bulkdata/{{path}}", {"path": "00880200/0/7FE00010"}),
    ],
)
def test_paths_and_their_parts(path: str, template: str, params: dict[str, str]) -> None:
    """Every resource, with what its path names."""
    found = ROUTER.find(path)
    assert found is not None

    assert template == found[0]["GET"].template
    assert params == {name: value for name, value in found[1].items() if name in params}


@pytest.mark.parametrize(
    "path",
    [
        "//studies",
        "/studies/",
        "/studies//metadata",
        "/studies/../studies",
        "/studies/./metadata",
        "/studies/%2e%2e/metadata",
        "/studies/1.2%2Fmetadata",
        "/studies/1.2\\metadata",
        "/studies/1.2/metadata;x=1",
        "/studies/%ff",
        "/studies/%00",
        "/studies/abc",
        f"/studies/{'1' * 65}",
        "/STUDIES",
        f"{BELOW}/frames/1,",
        f"{BELOW}/frames/-1",
        f"{BELOW}/bulkdata/",
        f"{BELOW}/bulkdata/../../x",
        f"{BELOW}/frames/" + "1," * 5000 + "1",
        "studies",
        "/metrics",
    ],
)
def test_tricks_with_the_path(path: str) -> None:
    """What is not written as we write it is not there (W31, W34)."""
    assert ROUTER.find(path) is None


def test_methods_stand_side_by_side() -> None:
    """One resource, two methods, two actions."""
    found = ROUTER.find("/studies")
    assert found is not None

    assert {"GET": "query", "POST": "deposit"} == {method: route.action for method, route in found[0].items()}


@pytest.mark.parametrize("action", ["", "anything", "QUERY"])
def test_no_row_without_an_action(action: str) -> None:
    """A route that nobody has to be allowed to use does not start."""
    with pytest.raises(ConfigurationError, match="names no action"):
        Router([row("/studies", action)])


def test_no_row_twice() -> None:
    """The second would never be asked."""
    with pytest.raises(ConfigurationError, match="twice"):
        Router([row("/studies"), row("/studies")])
