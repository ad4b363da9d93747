"""`python -m e2e.image`: build the operator's image as the pages tell, from nothing."""

from __future__ import annotations

import sys

from e2e.pages import NETWORK, PageError, Reader, told_with

SECONDS = 900.0
"""Of a machine that has much else to do; half a gigabyte is fetched and copied some times."""


def main() -> int:
    """Do what needs the network, and say what that was."""
    reader = Reader({}, has=NETWORK, seconds=SECONDS)
    for section in told_with(NETWORK):
        print(section.name, flush=True)
        try:
            reader.follow(section)
        except PageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
