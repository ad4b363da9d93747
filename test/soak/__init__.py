"""Thousands of claims live and die on a real API server, and the operator does not grow.

No scheduler and no kubelet take part, which would be what is measured: `driver` creates each
pod on a node and writes its status itself.  `gauges` reads the operator's process from /proc
and says whether memory, threads and file descriptors are flat after the warm-up.

    python -m soak --lives 20000 --minutes 60
"""
