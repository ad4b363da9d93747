"""Kubernetes quantities as numbers, to see whether a volume is to grow.

The official client has a parser, but importing it loads the HTTP client, which this
room must not know.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_QUANTITY = re.compile(
    r"([+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.)(?:[eE]([+-]?[0-9]{1,3})|([A-Za-z]{0,2}))"
)


@lru_cache(maxsize=1024)
def parse(text: str) -> Fraction | None:
    """Return the number of bytes (or whatever is counted); None if it is not a quantity."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    digits, exponent, suffix = match.groups()
    number = Fraction(digits.rstrip("."))
    if exponent is not None:
        return number * Fraction(10) ** int(exponent)
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    return number * Fraction(10) ** _DECIMAL[suffix] if suffix in _DECIMAL else None
