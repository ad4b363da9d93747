"""`PYTHONPATH=test python -m demo [--keep]`: boot, play, judge, clean up."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster import ClusterError, ensure_binaries

from .errors import DemoError
from .narrator import Narrator
from .stage import Operator, Stage, ignore_interrupts
from .stories import all_stories
from .story import Telling
from .watch import Eye, Snapshot

HERE = Path(__file__).parent
CRD = HERE.parent.parent / "config" / "crd"
POLL_SECONDS = 0.08
INTERRUPTED = 130


def main() -> int:
    """Play the demo; the exit code is 0 only if every claim ended as it should."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave cluster and operator running")
    keep = parser.parse_args().keep
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    narrator = Narrator()
    narrator.introduce()
    try:
        ensure_binaries()
        narrator.started = time.monotonic()  # building, the first time, is not part of the story
        stage = Stage.boot_detached() if keep else Stage.boot()
    except (ClusterError, DemoError) as error:
        narrator.failed("demo", str(error))
        return 1
    except KeyboardInterrupt:
        narrator.plain("interrupted")
        return INTERRUPTED
    return play(stage, narrator, keep)


def play(stage: Stage, narrator: Narrator, keep: bool) -> int:
    """Everything between a booted control plane and one that has been taken down."""
    code = 1
    try:
        code = 0 if perform(stage, narrator) else 1
    except (ClusterError, DemoError) as error:
        narrator.failed("demo", str(error))
        if stage.operator is not None:
            last_words(stage.operator, narrator)
    except KeyboardInterrupt:
        narrator.plain("\ninterrupted: taking everything down")
        code = INTERRUPTED
    finally:
        ignore_interrupts()
        if keep and code != INTERRUPTED:
            leave(stage, narrator)
        elif not strike(stage, narrator, failed=code == 1):
            code = code or 1
    return code


def perform(stage: Stage, narrator: Narrator) -> bool:
    """Set the scene, tell the stories; returns whether they ended well."""
    operator = set_up(stage, narrator)
    stories = all_stories(stage.logs / "audit.jsonl", lambda: stage.apply(HERE / "later"))
    tellings = [Telling(story) for story in stories]
    tell(tellings, stage, operator, narrator)
    good = narrator.summary(tellings)
    if not good:
        evidence(stage, operator, narrator)
    return good


def set_up(stage: Stage, narrator: Narrator) -> Operator:
    """Install the CRD, start the operator, apply the samples."""
    parts = "etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the real ones."
    pretended = "The node and its pods are pretended by kwok: no container really runs."
    narrator.line("demo", f"control plane is up: {stage.url}", f"{parts} {pretended}")
    stage.kubectl("apply", "-k", str(CRD))
    stage.kubectl("wait", "--for=condition=Established", "crd/ephemeralvolumeclaims.evc.dev")
    narrator.line("demo", "kubectl apply -k config/crd")
    operator = stage.start_operator()
    narrator.line("demo", f"operator is ready (process {operator.pid})", operator.command)
    applied = stage.apply(HERE / "samples").strip()
    shorter = (
        "With shorter waits than in the files, so that you need not wait: see test/demo/samples."
    )
    narrator.line("demo", f"kubectl apply -k config/samples\n{applied}", shorter)
    return operator


def tell(tellings: Sequence[Telling], stage: Stage, operator: Operator, narrator: Narrator) -> None:
    """Look, and look again, until every story has come to its end."""
    eye = Eye(stage.url, stage.pki)
    while any(telling.open for telling in tellings):
        try:
            operator.check_alive()
            seen = eye.look()
        except DemoError as error:
            for telling in tellings:
                telling.abort(str(error))
            narrator.failed("demo", str(error))
            return
        for telling in tellings:
            advance(telling, seen, stage, narrator)
        time.sleep(POLL_SECONDS)


def advance(telling: Telling, seen: Snapshot, stage: Stage, narrator: Narrator) -> None:
    """Take one story as far as this look shows, and say so."""
    was_open = telling.open
    for reached, text in telling.advance(seen, narrator.started):
        narrator.line(telling.story.claim, text, reached.step.meaning, at=reached.at)
        if reached.step.show:
            narrator.line("demo", "kubectl get evc")
            narrator.exhibit(stage.kubectl("get", "evc"))
    if was_open and telling.failure:
        narrator.failed(telling.story.claim, telling.failure)


def evidence(stage: Stage, operator: Operator, narrator: Narrator) -> None:
    """Show what is left, for whoever wants to know why."""
    try:
        narrator.plain("\nWhat is left in the cluster:")
        narrator.exhibit(stage.kubectl("get", "evc,pvc,job,pod", "--request-timeout=5s"))
    except DemoError as error:
        narrator.exhibit(str(error).splitlines()[0])
    last_words(operator, narrator)


def last_words(operator: Operator, narrator: Narrator) -> None:
    """Show how the operator's log ends."""
    narrator.plain(f"\nThe operator's last words ({operator.log}):")
    for line in operator.last_words():
        for part in narrator.wrapped(line, "  "):
            narrator.plain(part)


def leave(stage: Stage, narrator: Narrator) -> None:
    """Say how to use what stays, and how to stop it."""
    operator = stage.operator
    running = operator is not None and operator.guard.poll() is None
    more = ", and so does the operator." if running else "; the operator has ENDED."
    narrator.plain(f"\nThe control plane stays up{more}")
    narrator.plain(f"  export KUBECONFIG={stage.kubeconfig}")
    narrator.plain(f"  logs: {stage.logs}")
    narrator.plain("  make cluster-down   stops both, and removes all of it")


def strike(stage: Stage, narrator: Narrator, *, failed: bool) -> bool:
    """Take everything down; returns whether nothing is left running."""
    left = stage.strike(keep_logs=failed)
    if left:
        narrator.failed("demo", f"still running: process {', '.join(map(str, left))}")
    else:
        narrator.line("demo", "nothing is left running")
    if failed:
        narrator.plain(f"Logs are kept in {stage.logs}")
    return not left


if __name__ == "__main__":
    sys.exit(main())
