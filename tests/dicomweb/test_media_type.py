"""Content-Type as clients really write it (RFC 9110 §8.3, PS3.18 §8.7.3)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dicomweb.media_type import MAX_MEDIA_TYPE_LENGTH, MediaType, parse
from strongroom.dicomweb.problems import HttpProblem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("application/dicom", MediaType("application/dicom")),
        ("Application/DICOM ; Transfer-Syntax=1.2", MediaType("application/dicom", {"transfer-syntax": "1.2"})),
        (
            'multipart/related; type="application/dicom"; boundary=a/b:c',
            MediaType("multipart/related", {"type": "application/dicom", "boundary": "a/b:c"}),
        ),
        (
            "multipart/related;type=application/dicom;boundary=x;",
            MediaType("multipart/related", {"type": "application/dicom", "boundary": "x"}),
        ),
        ('a/b; boundary="a\\"b c"', MediaType("a/b", {"boundary": 'a"b c'})),
    ],
)
def test_quoted_and_unquoted_parameters_are_read(text: str, expected: MediaType) -> None:
    """Names are compared without case, values as they are; quotes are optional even where the grammar wants them."""
    assert expected == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "application",
        "a/b c",
        'a/b; x="y',
        "a/b; x=1; X=2",
        "a/b; x",
        "a/b;=",
        "a/b; x=" + "y" * MAX_MEDIA_TYPE_LENGTH,
    ],
)
def test_what_is_no_media_type_is_unsupported(text: str) -> None:
    """Missing, malformed, doubled or too long: 415, and nothing of it in the sentence."""
    with pytest.raises(HttpProblem) as refused:
        parse(text)

    assert 415 == refused.value.status


@given(st.text(alphabet=' ;="\\/abX\t\r\né', max_size=60))
def test_any_text_gives_a_media_type_or_the_problem(text: str) -> None:
    """Nothing else comes out, whatever goes in."""
    found = None
    with contextlib.suppress(HttpProblem):
        found = parse(text)

    assert found is None or found.essence == found.essence.lower()
