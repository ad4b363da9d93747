"""The only room that speaks HTTP.

In the order of a request: `config` finds the cluster and who we are (with the official client
for a kubeconfig, without it in a pod), `client` turns a verb and an object into a request,
`transport` sends it through urllib3's pool, under the limit of `throttle`, and again where
`retry` says so, and `errors` makes exceptions of refusals.  What comes back is decoded by
msgspec into the types that `resources` names, one page or one line of a `watch` at a time.
`lease` is a Lease as the runtime's leader election wants it.
"""
