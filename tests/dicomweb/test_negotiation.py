"""What clients accept, in the very words they use (VIEWER section 2), and what becomes of lists that nobody should send."""

from __future__ import annotations

import pytest

from strongroom.dicomweb.negotiation import MAX_ACCEPT_BYTES, MAX_RANGES, Form, Range, parse
from strongroom.dicomweb.problems import HttpProblem

OHIF_FRAME = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
OHIF_INSTANCE = 'multipart/related; type="application/dicom"'
WEASIS = "multipart/related;type=application/dicom;transfer-syntax=1.2.840.10008.1.2.1,multipart/related;type=application/dicom;transfer-syntax=*"
_PART = 'multipart/related; type="{}"; transfer-syntax={}'
MICROSCOPY = ", ".join(
    _PART.format(media_type, syntax)
    for media_type, syntax in (
        ("image/jls", "1.2.840.10008.1.2.4.80"),
        ("image/jls", "1.2.840.10008.1.2.4.81"),
        ("image/jp2", "1.2.840.10008.1.2.4.90"),
        ("application/octet-stream", "*"),
        ("image/jpeg", "1.2.840.10008.1.2.4.50"),
    )
)
DICOM = Form("application/dicom", multipart=True)
OCTETS = Form("application/octet-stream", multipart=True)
JSON, XML = Form("application/dicom+json"), Form("application/dicom+xml", multipart=True)


def one(text: str) -> Range:
    """The only range of a header."""
    (found,) = parse([text]).ranges
    return found


@pytest.mark.parametrize(
    ("header", "media_type", "syntax"),
    [
        (OHIF_FRAME, "application/octet-stream", "*"),
        (OHIF_INSTANCE, "application/dicom", None),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", "application/octet-stream", "*"),
        ("Multipart/Related;Type=IMAGE/JLS ;Transfer-Syntax=1.2.3", "image/jls", "1.2.3"),
        ("multipart/related", "*/*", None),
        ('multipart/related; type="*/*"', "*/*", None),
        ('multipart/related; type="image/"', "image/*", None),
        ("multipart/*", "*/*", None),
    ],
)
def test_multipart_in_every_spelling(header: str, media_type: str, syntax: str | None) -> None:
    """Quoted or not, in any case, with and without a transfer syntax."""
    found = one(header)

    assert (True, media_type, syntax) == (found.multipart, found.media_type, found.transfer_syntax)


@pytest.mark.parametrize(
    "header",
    [
        "application/dicom+json",
        "application/dicom+json, application/json",
        "*/*",
        "",
        "application/dicom+json;q=0.9, */*;q=0.1",
    ],
)
def test_metadata_as_every_client_asks_for_it(header: str) -> None:
    """OHIF, dicomweb-client, curl and whoever sends nothing get DICOM JSON."""
    assert JSON == parse([header]).choose([JSON, XML])[1]


def test_lists_keep_their_order() -> None:
    """Weasis names two syntaxes in one header; a slide viewer names every codec it has."""
    assert ["1.2.840.10008.1.2.1", "*"] == [found.transfer_syntax for found in parse([WEASIS]).ranges]
    assert ["image/jls", "image/jls", "image/jp2", "application/octet-stream", "image/jpeg"] == [
        found.media_type for found in parse([MICROSCOPY]).ranges
    ]


def test_quality_decides_before_order() -> None:
    """A browser's list: what it likes best comes first, wildcards last."""
    found = parse(["image/png;q=0.5, */*;q=0.8, image/jpeg;q=0.8"])

    assert ["image/jpeg", "*/*", "image/png"] == [one.media_type for one in found.ranges]


def test_quality_of_zero_excludes() -> None:
    """`*/*` with an exception takes anything but the exception."""
    found = parse(["image/jpeg;q=0, */*"])

    assert Form("image/png") == found.choose([Form("image/jpeg"), Form("image/png")])[1]


def test_a_bare_type_is_no_multipart() -> None:
    """Who asks for `application/dicom` wants a file and no envelope; a wildcard takes either."""
    assert [] == list(parse(["application/dicom"]).fitting([DICOM]))
    assert DICOM == parse(["*/*"]).choose([DICOM])[1]
    assert [] == list(parse(["multipart/related"]).fitting([Form("application/dicom")]))


def test_nothing_fits() -> None:
    """406 names what there is."""
    with pytest.raises(HttpProblem) as caught:
        parse(["text/html"]).choose([DICOM, JSON])

    assert 406 == caught.value.status
    assert 'multipart/related; type="application/dicom", application/dicom+json' in caught.value.detail


def test_the_query_parameter_goes_first() -> None:
    """What an address says counts before what the browser adds (PS3.18 §8.7.8)."""
    found = parse(["text/html, */*;q=0.8"], [("accept", "image/png"), ("limit", "3")])

    assert Form("image/png") == found.choose([Form("image/jpeg"), Form("image/png")])[1]


def test_a_plus_sign_nobody_escaped() -> None:
    """`?accept=application/dicom+json` arrives as a space."""
    assert JSON == parse([], [("accept", "application/dicom json")]).choose([XML, JSON])[1]


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "*"])
def test_charset_of_json(charset: str) -> None:
    """JSON is UTF-8."""
    assert JSON == parse([f"application/dicom+json; charset={charset}"]).choose([JSON])[1]


def test_another_charset_is_not_to_be_had() -> None:
    """Nothing is written in Latin 1."""
    with pytest.raises(HttpProblem, match="No representation"):
        parse(["application/dicom+json; charset=iso-8859-1"]).choose([JSON])


@pytest.mark.parametrize(
    "header", ["nonsense", "image/jpeg image/png", "image/png;q=2x", "image/png;q=nan", 'a/b;c="', "/"]
)
def test_what_is_no_list_of_media_types(header: str) -> None:
    """400, not a guess."""
    with pytest.raises(HttpProblem) as caught:
        parse([header])

    assert 400 == caught.value.status


def test_long_lists_are_not_searched() -> None:
    """W17: bounded, whatever is sent."""
    for headers in (
        ["a/b, " * (MAX_RANGES + 1)],
        [OHIF_FRAME + ";x=" + "y" * MAX_ACCEPT_BYTES],
        ["a/b"] * (MAX_RANGES + 1),
    ):
        with pytest.raises(HttpProblem) as caught:
            parse(headers)

        assert 406 == caught.value.status


def test_lists_over_several_fields_are_one() -> None:
    """RFC 9110 §5.3."""
    assert ["a/b", "c/d"] == [found.media_type for found in parse(["a/b", " c/d ,, "]).ranges]
