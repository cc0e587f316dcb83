"""The page about compose files shows the table that the program acts on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "compose_table.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
