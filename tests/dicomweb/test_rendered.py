"""Pictures: types, sizes, windows, and everything a request can get wrong."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from dicomweb.place import Shared, parts_of, shared

NAMES = (
    "CT_small.dcm",
    "emri_small_RLE.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "test-SR.dcm",
    "examples_palette.dcm",
    "US1_J2KR.dcm",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """An archive with images and a report."""
    yield from shared(tmp_path_factory.mktemp("rendered") / "home", *NAMES)


def image(content: bytes) -> Image.Image:
    """The picture."""
    found = Image.open(io.BytesIO(content))
    found.load()
    return found


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/jpeg", "JPEG"),
        ("image/png", "PNG"),
        ("image/gif", "GIF"),
        ("*/*", "JPEG"),
        ("", "JPEG"),
        ("image/*", "JPEG"),
        ("image/webp, image/png;q=0.5", "PNG"),
    ],
)
def test_types(place: Shared, accept: str, kind: str) -> None:
    """What browsers and clients ask for; a photograph's format where anything will do."""
    answer = place.ask(f"{place.kept['CT_small.dcm'].url}/rendered", accept)

    assert (200, kind) == (answer.status_code, image(answer.content).format)
    assert f"image/{kind.lower()}" == answer.headers["content-type"]
    assert (128, 128) == image(answer.content).size


def test_the_accept_parameter(place: Shared) -> None:
    """An <img> cannot set a field, so the address may (PS3.18 §8.3.3.1)."""
    answer = place.ask(f"{place.kept['CT_small.dcm'].url}/rendered?accept=image/png", "image/avif,image/webp,*/*;q=0.8")

    assert "PNG" == image(answer.content).format


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("viewport=64,64", (64, 64)),
        ("viewport=64,32", (32, 32)),
        ("viewport=256,256", (256, 256)),
        ("viewport=40,40,0,0,64,64", (40, 40)),
        ("viewport=40,20,,,64,32", (40, 20)),
    ],
)
def test_viewports(place: Shared, query: str, size: tuple[int, int]) -> None:
    """The image keeps its proportions in what it is to fit into."""
    assert size == image(place.ask(f"{place.kept['CT_small.dcm'].url}/rendered?{query}", "image/png").content).size


def test_a_window_changes_the_picture(place: Shared) -> None:
    """And the narrower one has more contrast."""
    url = f"{place.kept['CT_small.dcm'].url}/rendered"
    wide = image(place.ask(f"{url}?window=40,4000,linear", "image/png").content).convert("L").getextrema()
    narrow = image(place.ask(f"{url}?window=40,40,linear", "image/png").content).convert("L").getextrema()
    for function in ("linear-exact", "sigmoid"):
        assert 200 == place.ask(f"{url}?window=40,400,{function}", "image/png").status_code

    assert wide[1] - wide[0] < narrow[1] - narrow[0]


def test_annotation_and_quality(place: Shared) -> None:
    """Burnt-in text changes the picture; a lower quality makes it smaller."""
    url = f"{place.kept['CT_small.dcm'].url}/rendered"
    plain = place.ask(f"{url}?viewport=512,512", "image/jpeg").content

    assert plain != place.ask(f"{url}?viewport=512,512&annotation=patient,technique", "image/jpeg").content
    assert len(plain) > len(place.ask(f"{url}?viewport=512,512&quality=10", "image/jpeg").content)


@pytest.mark.parametrize(
    "query",
    [
        "viewport=1e6,1e6",
        "viewport=0,10",
        "viewport=10",
        "viewport=a,b",
        "viewport=10,10,0,0,0,0",
        "viewport=10.5,10",
        "viewport=-5,10",
        "window=nan,1,linear",
        "window=1,0,linear",
        "window=1,inf",
        "window=1,2,cubic",
        "window=1",
        "quality=-1",
        "quality=101",
        "quality=x",
        "quality=%C2%B2",
        "iccprofile=../../etc/passwd",
        "annotation=everything",
        "quality=10&quality=20",
    ],
)
def test_pictures_that_cannot_be_made(place: Shared, query: str) -> None:
    """400 before a worker hears of it (W16)."""
    answer = place.ask(f"{place.kept['CT_small.dcm'].url}/rendered?{query}", "image/png")

    assert 400 == answer.status_code
    assert "passwd" not in answer.text


def test_unknown_parameters_are_ignored(place: Shared) -> None:
    """What a client adds for itself harms nothing."""
    assert 200 == place.ask(f"{place.kept['CT_small.dcm'].url}/rendered?_=1700000000", "image/png").status_code


def test_several_frames(place: Shared) -> None:
    """An animation of all or of some; a part for each; one alone; a still picture of many is the one that stands for all."""
    url = place.kept["emri_small_RLE.dcm"].url
    assert 10 == getattr(image(place.ask(f"{url}/rendered").content), "n_frames", 1)
    assert 3 == getattr(image(place.ask(f"{url}/frames/3,1,2/rendered", "image/gif").content), "n_frames", 1)

    parts = parts_of(place.ask(f"{url}/frames/1,2/rendered", 'multipart/related; type="image/png"'))
    alone = [place.ask(f"{url}/frames/{number}/rendered", "image/png").content for number in (1, 2)]
    assert alone == [part.content for part in parts]
    assert alone[0] == place.ask(f"{url}/rendered", "image/png").content
    assert 404 == place.ask(f"{url}/frames/11/rendered", "image/png").status_code
    assert 406 == place.ask(f"{url}/frames/1,2/rendered", "image/png").status_code


def test_series_and_studies(place: Shared) -> None:
    """A bare type gets the picture that stands for it, multipart a part for each image."""
    kept = place.kept["JPEG2000.dcm"]
    for url in (f"/studies/{kept.study}",):
        assert "PNG" == image(place.ask(f"{url}/rendered", "image/png").content).format
        parts = parts_of(place.ask(f"{url}/rendered", 'multipart/related; type="image/jpeg"'))
        assert ["JPEG", "JPEG"] == [image(part.content).format for part in parts]
    series = f"/studies/{kept.study}/series/{kept.series}/rendered"
    assert "JPEG" == image(place.ask(series).content).format


def test_thumbnails_at_every_level(place: Shared) -> None:
    """Small, of a size that can be asked for; several candidates are tried."""
    kept = place.kept["JPEG2000.dcm"]
    for url in (
        f"/studies/{kept.study}",
        f"/studies/{kept.study}/series/{kept.series}",
        kept.url,
        f"{kept.url}/frames/1",
    ):
        assert max(image(place.ask(f"{url}/thumbnail").content).size) == 128
        assert max(image(place.ask(f"{url}/thumbnail?viewport=40,40", "image/png").content).size) == 40
    assert 400 == place.ask(f"{kept.url}/thumbnail?viewport=40,40,0,0,10,10").status_code
    assert 404 == place.ask(f"{kept.url}/frames/2/thumbnail").status_code


def test_what_has_no_picture(place: Shared) -> None:
    """A report: 404 at every level."""
    kept = place.kept["test-SR.dcm"]
    for url in (kept.url, f"/studies/{kept.study}"):
        for tail in ("rendered", "thumbnail"):
            assert 404 == place.ask(f"{url}/{tail}").status_code
    assert 404 == place.ask(f"/studies/{kept.study}/rendered", 'multipart/related; type="image/png"').status_code
    assert 406 == place.ask(f"{place.kept['CT_small.dcm'].url}/rendered", "application/pdf").status_code


def test_a_palette_is_applied(place: Shared) -> None:
    """Its tables are bulk data, fetched for the picture."""
    assert "RGB" == image(place.ask(f"{place.kept['examples_palette.dcm'].url}/rendered", "image/png").content).mode
