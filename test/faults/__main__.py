"""`python -m faults record | list | run | replay PLAN_ID`."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults import plans
from faults.plans import CLASSES, Plan, all_plans
from faults.play import AT_ONCE, Verdict, play, play_all, record
from faults.scenarios import REFERENCE
from faults.stage import Stage


def do_record(args: argparse.Namespace) -> int:
    """Play every reference scenario without faults, and keep the traces."""
    names = args.only or list(REFERENCE)
    with Stage.boot() as stage, ThreadPoolExecutor(len(names)) as pool:
        for name, trace in zip(names, pool.map(lambda n: record(stage, n), names), strict=True):
            plans.store(name, trace)
            print(f"{name}: {len(trace.writes)} writes, {len(trace.states)} objects")
    return 0


def do_list(args: argparse.Namespace) -> int:
    """Print the id of every plan."""
    for plan in selected(args):
        print(plan.id)
    return 0


def do_run(args: argparse.Namespace) -> int:
    """Play all plans (or those whose id contains a word), and print a table."""
    began, verdicts = time.monotonic(), []
    with Stage.boot() as stage:
        for verdict in play_all(stage, selected(args), args.at_once):
            verdicts.append(verdict)
            report(verdict, always=args.verbose)
    table(verdicts, time.monotonic() - began)
    return any(v.violations or not v.struck for v in verdicts)


def do_replay(args: argparse.Namespace) -> int:
    """Play one plan, with a seeded bug if asked; the exit code is 1 if it is violated."""
    (plan,) = (plan for plan in all_plans() if plan.id == args.plan)
    with Stage.boot() as stage:
        verdict = play(stage, plan, args.with_bug)
        report(verdict, always=True)
        for log in verdict.log:
            print(f"--- {log}")
            print(Path(log).read_text())
    return bool(verdict.violations)


def selected(args: argparse.Namespace) -> list[Plan]:
    words = args.only
    return [p for p in all_plans() if not words or any(word in p.id for word in words)]


def report(verdict: Verdict, *, always: bool) -> None:
    """One line for a plan, and one for each violation."""
    if always or verdict.violations or not verdict.struck:
        missed = "" if verdict.struck else " (never struck)"
        print(f"{verdict.seconds:6.1f} s {verdict.plan.id}{missed}", flush=True)
    for violation in verdict.violations:
        print(f"         {violation}", flush=True)


def table(verdicts: list[Verdict], seconds: float) -> None:
    """Plans per class, violations, and how long it took to settle."""
    print(f"\n{'class':22} {'plans':>6} {'violated':>9} {'settled within':>15} {'longest':>9}")
    for name in (*CLASSES, "all"):
        of = [v for v in verdicts if name in (v.plan.fault, "all")]
        if of:
            bad = sum(bool(v.violations) for v in of)
            settled, longest = max(v.settled for v in of), max(v.seconds for v in of)
            print(f"{name:22} {len(of):6} {bad:9} {settled:13.1f} s {longest:7.1f} s")
    print(f"{len(verdicts)} plans in {seconds:.0f} s")


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, action in (("record", do_record), ("list", do_list), ("run", do_run)):
        command = commands.add_parser(name, help=action.__doc__)
        command.add_argument("only", nargs="*", metavar="WORD", help="part of a name or id")
        command.add_argument("--at-once", type=int, default=AT_ONCE, help="plans at a time")
        command.add_argument("--verbose", action="store_true", help="a line for each plan")
        command.set_defaults(action=action)
    command = commands.add_parser("replay", help=do_replay.__doc__)
    command.add_argument("plan", metavar="PLAN_ID")
    command.add_argument("--with-bug", default="", metavar="NAME", help="of seeded_bugs")
    command.set_defaults(action=do_replay)
    args = parser.parse_args()
    code: int = args.action(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
