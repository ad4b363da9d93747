"""What a benchmark returns, and how big it is to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """``quick`` only proves that a benchmark still works; its figures mean nothing."""

    quick: bool = False

    def pick(self, full: Any, quick: Any) -> Any:
        """The value for this size."""
        return quick if self.quick else full


@dataclass
class Result:
    """One table: rows of (contender, load, figures) and what limited them."""

    id: str
    title: str
    how: str
    rows: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, who: str, load: str, **figures: Any) -> None:
        """Add a row, and show it: a run takes long."""
        self.rows.append({"who": who, "load": load} | figures)
        shown = ", ".join(f"{name} {value}" for name, value in figures.items())
        print(f"    {who:22} {load:28} {shown}", flush=True)

    def to_json(self) -> Json:
        """For the file."""
        return asdict(self)
