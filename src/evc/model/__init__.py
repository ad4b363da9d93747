"""API objects as frozen values, trimmed to the fields the operator reads.

Unknown fields are dropped while decoding, so a cached pod costs about 2 kB
instead of the 78 kB of the official client's model.  Nothing here does IO.
"""
