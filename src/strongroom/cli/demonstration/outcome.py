"""What a run of the demo measured, and what was not as it has to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass(slots=True)
class Outcome:
    """Filled part by part; printed as one document with --json."""

    figures: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def must_not(self, finding: str) -> None:
        """Note something that was not as it has to be."""
        self.findings.append(finding)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return self.figures | {"findings": self.findings}
