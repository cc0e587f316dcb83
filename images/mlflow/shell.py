"""Becomes a program that may use MLflow's commands on the server's data: `shell.py mlflow gc` beside the server.

Runs inside the image, behind entrypoint.sh, which sets the server's own variables.
"""

import os
import sys
from pathlib import Path

from bootlib import client_environment

_NOT_FOUND = 127

if __name__ == "__main__":
    client_environment()
    # The program `mlflow` beside this one comes before MLflow's own.
    os.environ["PATH"] = f"{Path(__file__).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError:
        sys.exit(_NOT_FOUND)
