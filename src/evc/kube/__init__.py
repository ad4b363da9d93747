"""The only room that speaks HTTP.

The official client finds the cluster, its certificates and credentials and keeps
the connection pool; msgspec decodes what comes back (`client.py`), one line at a
time for watches (`watch.py`).
"""
