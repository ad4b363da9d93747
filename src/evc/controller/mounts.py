"""What may still have a volume mounted."""

from __future__ import annotations

from functools import cached_property

from evc.kube.client import Client
from evc.kube.resources import ATTACHMENTS, NODES, VOLUMES
from evc.model.core import CSISource, Node, PersistentVolumeClaim, VolumeAttachment
from evc.model.errors import Forbidden, NotFound
from evc.model.meta import Key


class Mounts:
    """Reads the cluster's attachments and nodes when first asked, and once.

    A terminated pod's volume that was found detached is not attached again, so what was
    read for one claim is good for all whose pods were read before.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, claim: PersistentVolumeClaim) -> tuple[str, ...] | None:
        """Return them as Kind/name; None if we may not know.  Raises other ApiErrors."""
        volume = claim.spec.volume_name
        if not volume:
            return ()
        try:
            attached = self._attached(volume)
            source = self._csi(volume)
            in_use = self._in_use(source) if source is not None else ()
        except Forbidden:
            return None
        return attached + in_use

    @cached_property
    def _attachments(self) -> tuple[VolumeAttachment, ...]:
        return self._client.list(ATTACHMENTS).items

    @cached_property
    def _nodes(self) -> tuple[Node, ...]:
        return self._client.list(NODES).items

    def _csi(self, volume: str) -> CSISource | None:
        """Return what the volume's driver calls it; None: no driver, or no such volume."""
        try:
            return self._client.get(VOLUMES, Key("", volume)).spec.csi
        except NotFound:
            return None

    def _attached(self, volume: str) -> tuple[str, ...]:
        return tuple(
            f"VolumeAttachment/{attachment.metadata.name}"
            for attachment in self._attachments
            if attachment.spec.source.persistent_volume_name == volume
        )

    def _in_use(self, source: CSISource) -> tuple[str, ...]:
        # The name the kubelet reports in volumesInUse (volumehelper.GetUniqueVolumeName).
        unique = f"kubernetes.io/csi/{source.driver}^{source.volume_handle}"
        return tuple(
            f"Node/{node.metadata.name}"
            for node in self._nodes
            if unique in node.status.volumes_in_use
        )
