"""Metrics, probes, logs and their servers."""
