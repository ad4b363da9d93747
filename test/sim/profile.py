"""What kind of life it is: each draws only some of the troubles (swarm testing)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sim.choices import Choices
from sim.faults import CRASHES, REQUEST_FAULTS, STREAM_FAULTS
from sim.kinds import EVCS, JOBS, PODS, PVCS, WORKLOADS
from sim.ledger import Limits
from sim.streams import Lag

CACHED = (EVCS, PVCS, PODS, JOBS, *WORKLOADS)


@dataclass(frozen=True)
class Profile:
    """Who lives, and what is in their way."""

    claims: int = 1
    mischief: int = 0
    operators: int = 1
    faults: dict[str, float] = field(default_factory=dict)
    lag: Lag = field(default_factory=lambda: Lag({}))
    kills: int = 0
    outages: int = 0
    attachable: bool = True
    careful: bool = True
    unmount_lag: float = 3.0
    unused: float | None = None
    """How late the Unused condition is; None: a Kubernetes that does not have it."""
    skew: float = 0.0
    """Seconds by which the operator's wall clock is wrong, from some moment on."""
    patient: bool = False
    """Claims never expire, so that time lost to faults changes nothing."""

    limits: Limits = field(default_factory=Limits)
    """What every operator process is started with."""
    dry_from: float | None = None
    """When the operator is restarted with --dry-run, until faults stop; None: never."""
    work: tuple[str, ...] = ()
    """Names of the kinds of work there is (`sim.work.Work`); none: all of them."""
    herd: int = 0
    """So many claims more, whose volumes are all due within a minute."""

    @property
    def calm(self) -> bool:
        """Whether nothing but restarts and limits disturbs the operator."""
        troubles = self.faults or self.outages or self.skew or self.dry_from is not None
        return not troubles and self.operators == 1

    @property
    def answered(self) -> bool:
        """Whether every request has its answer, unless the operator dies of it."""
        crashes = self.faults.keys() <= {*CRASHES}
        return crashes and not self.outages and self.operators == 1 and self.dry_from is None

    @property
    def special(self) -> str:
        """What is not usual about the operator's options."""
        if self.herd:
            return "herd"
        return "dry" if self.dry_from is not None else "limited" if self.limits.per_minute else ""

    def without_faults(self) -> Profile:
        """The same users with nothing in the operator's way."""
        calm = replace(self, operators=1, faults={}, lag=Lag({}), kills=0, outages=0, skew=0.0)
        return replace(calm, limits=Limits(), dry_from=None, herd=0)


def draw(choices: Choices) -> Profile:
    """Draw a profile."""

    def one(*options: object) -> object:
        return choices.among("profile", options)

    faults = {}
    if choices.chance("profile", 0.7):
        for fault in (*REQUEST_FAULTS, *STREAM_FAULTS, "pause"):
            if choices.chance("profile", 0.3):
                faults[fault] = choices.among("profile", (0.01, 0.03, 0.1))
    lags = (0.05, 0.05, 0.5, 5.0, 30.0)
    lag = Lag({kind: choices.among("profile", lags) for kind in CACHED} if faults else {})
    lag.streaming = bool(one(True, False))
    attachable = bool(one(True, False))
    skew = choices.among("profile", (0.0, 0.0, 0.0, 0.0, -3.0, 60.0))
    return _special(
        choices,
        Profile(
            claims=choices.among("profile", (1, 2)),
            mischief=choices.among("profile", (0, 1, 2, 3)),
            operators=choices.among("profile", (1, 1, 1, 1, 2)),
            faults=faults,
            lag=lag,
            kills=choices.among("profile", (0, 0, 1, 2)),
            outages=choices.among("profile", (0, 0, 1)) if faults else 0,
            attachable=attachable,
            careful=bool(one(True, False)),
            # Of a file share nothing says when it was unmounted but the settle time, of which a
            # clock that is ahead takes no part.
            unmount_lag=choices.among("profile", (3.0, 30.0) if attachable else (3.0, 8.0)),
            unused=choices.among("profile", (None, 0.5, 0.5, 5.0)),
            skew=skew,
        ),
    )


def _special(choices: Choices, profile: Profile) -> Profile:
    """Start the operator of some lives with options of their own."""
    options = ("limited", "dry", "dry", *["usual"] * 17)
    match choices.among("special", options):
        case _ if choices.chance("special", 0.004):
            # Alone but for restarts: only then is it certain what falls due together.
            percent = choices.among("special", (10, 80, 90, 100))
            calm = replace(profile.without_faults(), claims=0, kills=profile.kills)
            return replace(calm, herd=26, limits=Limits(percent=percent))
        case "limited":
            rate = choices.among("special", (1, 1, 2, 3))
            claims = choices.among("special", (3, 4, 5))
            return replace(profile, claims=claims, limits=Limits(per_minute=rate))
        case "dry":
            return replace(profile, dry_from=choices.among("special", (0.0, 30.0, 60.0, 100.0)))
        case _:
            return profile
