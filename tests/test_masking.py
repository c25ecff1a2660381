"""Secrets are taken out whole, in part and in other spellings; nothing else is."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.masking import MASK, PART, masked

SECRET = 'sk-proj/4f<9"Xq+Zt&7mB2='


@pytest.mark.parametrize(
    "spelt",
    [
        SECRET,
        SECRET[3:],
        SECRET[:-3],
        quote(SECRET, safe=""),
        html.escape(SECRET),
        json.dumps(SECRET)[1:-1],
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
    ],
)
def test_other_spellings_and_parts_go(spelt: str) -> None:
    assert masked(f"Bearer {spelt}, no", [SECRET]) == f"Bearer {MASK}, no"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("user", ["", "u", "us", "use"])
def test_within_base64_no_readable_part_of_it_stays(encode: Callable[[bytes], bytes], user: str) -> None:
    spelt = encode(f"{user}:{SECRET}".encode()).decode()
    left = masked(spelt, [SECRET])
    assert MASK in left
    whole = encode(SECRET.encode()).decode()
    assert not any(whole[i : i + PART] in left for i in range(len(whole) - PART + 1))
    assert len(left.replace(MASK, "")) < len(user) * 4 / 3 + PART


@given(before=st.text(), after=st.text(), data=st.data())
def test_no_part_of_eight_characters_is_left(before: str, after: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(SECRET) - PART))
    end = data.draw(st.integers(start + PART, len(SECRET)))
    left = masked(before + SECRET[start:end] + after, [SECRET])
    assert not any(SECRET[i : i + PART] in left for i in range(len(SECRET) - PART + 1))


@given(st.text(alphabet="abcdefgh \n", max_size=60))
def test_other_text_stays_as_it_is(text: str) -> None:
    assert masked(text, [SECRET, "", "none"]) == text


def test_a_short_secret_is_masked_as_a_word() -> None:
    assert masked("key hunter2, not hunter22 (hunter2)", ["hunter2"]) == f"key {MASK}, not hunter22 ({MASK})"
