"""Seeded bugs: the proof that the simulation would notice.

Each bug breaks the product from outside (`seeded_bugs.bugs`), and lives are lived until
one violates the invariant that the bug is about and is clean without it.

``PYTHONPATH=test python -m seeded_bugs`` prints the table.
"""
