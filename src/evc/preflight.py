"""What is wrong at the start, said at once, in one line, with what to do about it."""

from __future__ import annotations

from typing import Any

from evc.kube.client import Client
from evc.kube.resources import CLAIMS, WATCHED, Resource
from evc.model.errors import ApiError, Forbidden, NotFound, Unauthorized, Unreachable
from evc.model.evc import GROUP, PLURAL


class StartError(Exception):
    """The operator cannot run; the message is one line that says what to do."""


def preflight(client: Client, namespaces: tuple[str, ...]) -> None:
    """List one object of each type, so that what is missing is said at once and clearly."""
    for namespace in namespaces:
        for resource in WATCHED:
            try:
                client.list(resource, namespace, limit=1)
            except ApiError as error:
                raise StartError(_advice(error, client, resource, namespace)) from error


def _advice(error: ApiError, client: Client, resource: Resource[Any], namespace: str) -> str:
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    match error:
        case Unreachable():
            return f"{error}; is it running, and does --kubeconfig name the right cluster?"
        case Unauthorized():
            return f"the API server at {client.host} refuses these credentials: log in again"
        case Forbidden():
            return (
                f"may not list {resource.plural} {where}: {error}; grant it (config/rbac),"
                " or look after fewer namespaces with -n"
            )
        case NotFound() if resource is CLAIMS:
            return (
                f"the CustomResourceDefinition {PLURAL}.{GROUP} is not installed:"
                " run 'evc crd | kubectl apply -f -'"
            )
        case _:
            return f"cannot list {resource.plural} {where}: {error}"
