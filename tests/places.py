"""Where the repository and its shared data lie."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"


def absent_logs(notebook: Path) -> list[str]:
    """The logs in shared/data that a notebook names and that are not there."""
    named = re.findall(r"shared/data/([\w.-]+)", notebook.read_text(encoding="utf-8"))
    return [log for log in dict.fromkeys(named) if not (DATA / log).exists()]
