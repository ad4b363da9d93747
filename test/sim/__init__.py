"""Deterministic simulation: the real operator against a model API server, in virtual time.

In the order of a life:

`sim.choices`    one seed (or a script) answers every question of chance,
`sim.timeline`   virtual time: a heap of things to come,
`sim.server`     the model API server (`kinds`, `patches`, `fields`), with its whole `history`,
`sim.cluster`    provisioner, pvc-protection, garbage collector; `node`: scheduler and
                 kubelet; `jobs`: Jobs and CronJobs; `workloads`: Deployments and the like;
                 `foreign`: Workflows, JobSets, TrainJobs (all are `makers`),
`sim.users`      who create claims (`hands`), use them (`work`) and disturb them (`mischief`),
`sim.operator`   the product's own parts; `client` and `streams` connect them to the
                 server through `faults`,
`sim.observer`   hears of every write and has it judged from the history (`ledger`, `facts`) by
                 `deletions`, `writes`, `letting_go`, `rates` and `outcomes`; `settled` judges
                 the end,
`sim.life`       puts one together, of the kind that `profile` draws; `sim.worlds` explores
                 small ones exhaustively.

``PYTHONPATH=src:test python -m sim SEED --trace`` replays a life.
"""
