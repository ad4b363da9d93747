"""The demo: three claims live their lives on a local control plane, and each step is checked.

`PYTHONPATH=test python -m demo` boots the control plane, starts the operator as a process, applies
`config/samples` (with shorter waits, see `samples/`) and tells what it sees the API server say.
The rooms, in the order of a run:

- `__main__` is the command line, and what happens in which order.
- `stage` sets up and takes down: the control plane, the CRD, the operator under `guard.py`.
- `watch` reads the API server again and again; `Snapshot` is what one look has shown.
- `stories` is what each claim is expected to go through, `claim` what to look for on the way;
  `story` goes through it step by step.
- `audit` asks the API server's audit log who deleted what, when.
- `narrator` writes all this for a reader, and the table at the end.
"""
