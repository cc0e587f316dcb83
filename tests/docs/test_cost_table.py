"""The page about cost shows what the prod stack's plan costs by the table of prices."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "cost_table.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
