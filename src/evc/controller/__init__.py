"""EphemeralVolumeClaims with IO: gather what is, confirm it live, carry out the plan.

Read `reconcile.py` first: it is the whole way in forty lines.
"""
