"""A small controller-runtime: from a watch to a reconcile, for any kind of object.

In the order an event travels: `reflector` lists and watches one resource type and is
the only writer of its `store`; its handler maps a change to keys and adds them to a
`queue`; the workers of a `controller` take keys, call the reconcile function and put
keys back by `backoff` or after the time it asked for; `deadline` bounds how long one may
take.  `election` lets one replica at a time do so, and `manager` starts and stops all of it
in order.  What the room needs from outside (an API client, clocks, a place for the lease,
someone to tell) is in `ports`.

The parts that decide are pure or take ``now`` as an argument: `watcher.step`,
`election.step`, `queue.WorkQueue`, `backoff`.  The rest is thin and owns the threads.
"""
