"""Where things lie: the repository, its sample, and the data beside it that not everyone has."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
SHARED = ROOT.parent / "shared" / "data"
