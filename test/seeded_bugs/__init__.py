"""Seeded bugs: the proof that the simulation would notice.

Each bug (`seeded_bugs.bugs`) breaks the product from outside (`switches`, `blast`,
`work_over`), and lives are lived until one violates the invariant that the bug is about
and is clean without it.

``PYTHONPATH=test python -m seeded_bugs [NAME ...]`` prints the table.
"""
