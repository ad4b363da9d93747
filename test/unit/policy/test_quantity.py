"""Quantities as the API server reads them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evc.policy.quantity import parse

SUFFIXES = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "E": Fraction(10**18),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
    "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("500Gi", 500 * 2**30),
        ("1024Mi", 2**30),
        ("1Gi", 2**30),
        ("1.5Ti", 3 * 2**39),
        (".5Gi", 2**29),
        ("5.Gi", 5 * 2**30),
        ("+1k", 1000),
        ("-1k", -1000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1e-3", Fraction(1, 1000)),
        ("100m", Fraction(1, 10)),
        ("1e+2", 100),
    ],
)
def test_what_is_a_quantity(text: str, number: int | Fraction) -> None:
    assert parse(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "Gi", ".", "much", "1 Gi", "1gi", "1KI", "1Gi ", "1e", "1Ki3", "1e3Gi", "1,5Gi", "--1",
     "1K", "0x10", "NaN", "inf", "1e9999", "٣Gi", "1\n"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert parse(text) is None


@settings(database=None, derandomize=True, deadline=None)
@given(
    st.integers(-(10**12), 10**12),
    st.integers(0, 6),
    st.sampled_from(sorted(SUFFIXES)),
)
def test_digits_and_suffix_multiply(digits: int, decimals: int, suffix: str) -> None:
    sign, text = "-" if digits < 0 else "", str(abs(digits)).rjust(decimals + 1, "0")
    whole, part = text[: len(text) - decimals], text[len(text) - decimals :]
    written = f"{sign}{whole}.{part}{suffix}" if decimals else f"{sign}{whole}{suffix}"
    assert parse(written) == Fraction(digits, 10**decimals) * SUFFIXES[suffix]


@settings(database=None, derandomize=True, deadline=None)
@given(st.text(max_size=12))
def test_no_text_is_a_crash(text: str) -> None:
    parse(text)
