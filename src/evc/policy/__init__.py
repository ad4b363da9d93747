"""EphemeralVolumeClaims without IO, clock or randomness: what is, what should be done.

Read `decide.py` first.  Everything here is a function of values; the linters forbid
this room any clock, network, thread or log.
"""
