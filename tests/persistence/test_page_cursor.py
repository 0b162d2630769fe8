import base64

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.persistence.page_cursor import check_limit, decode_cursor, encode_cursor


def test_a_cursor_comes_back_as_it_was_given() -> None:
    assert decode_cursor(encode_cursor(-5, "conv_x"), int, str) == (-5, "conv_x")
    assert encode_cursor(1, "x").isascii()
    assert "=" not in encode_cursor(1, "x")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "%%%",
        "кава",
        "\ud800",
        "A" * 100_000,
        encode_cursor(1),
        encode_cursor("1"),
        encode_cursor(1, 2),
        encode_cursor(2**63, "x"),
        encode_cursor(1, "\ud800"),
        encode_cursor(1, "ї"),
        *(
            base64.urlsafe_b64encode(text).decode()
            for text in (b"{}", b"null", b'[true,"x"]', b'[1.0,"x"]', b"[" * 50_000, b"[1,null]", b"\xff")
        ),
    ],
)
def test_what_is_no_cursor_is_refused_by_name(cursor: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_cursor(cursor, int, str)
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("limit", [-1, 0, 1001])
def test_a_limit_out_of_bounds_is_refused_by_name(limit: int) -> None:
    with pytest.raises(InvalidInputError, match="1 to 1000") as caught:
        check_limit(limit)
    assert caught.value.field == "limit"
