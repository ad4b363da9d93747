"""`evc`, with a seeded bug if asked: `python -m faults.operator --with-bug NAME run`."""

from __future__ import annotations

import sys

from evc.__main__ import main


def run() -> None:
    """Run the command line of the product, the way `python -m evc` does."""
    if sys.argv[1:2] != ["--with-bug"]:
        main()
        return
    from seeded_bugs.bugs import BUGS

    _, _, name, *rest = sys.argv
    sys.argv[1:] = rest
    (bug,) = (bug for bug in BUGS if bug.name == name)
    with bug.switch():
        main()


if __name__ == "__main__":
    run()
