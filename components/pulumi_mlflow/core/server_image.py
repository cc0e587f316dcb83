"""What the recipe of the server's image (`images/mlflow`) promises: the same in every runtime that runs containers."""

PORT = 5000
"""TCP port that the server listens on."""

UID = 10001
"""Its user and group; those of the stores' images too."""

SCRATCH = "/scratch"
"""Folder on disk that whole artifacts are spooled to."""

MODULES = "/opt/pulumi-mlflow"
"""Folder with our programs."""

ENTRYPOINT = f"{MODULES}/entrypoint.sh"
"""Makes variables of the files below `env/`, then becomes the program of its arguments."""

BOOT = ["python", f"{MODULES}/boot.py"]
"""The program that migrates, serves, and asks whether the server is alive."""

ARTIFACTS = ["python", f"{MODULES}/artifacts.py"]
"""The program that makes, proves and copies artifact stores."""

RESTORE = ["python", f"{MODULES}/restore.py"]
"""The program that does a restore's steps on the server's own database and store."""

RESTORE_COMMAND = "RESTORE_COMMAND"
"""Its variable: what a person types to finish the restore."""

MAKE_USER = ["python", f"{MODULES}/database_user.py"]
"""The program that makes the server's user in a database, as its administrator."""

UPKEEP = ["python", f"{MODULES}/upkeep.py"]
"""The program that copies the database, and ends what users deleted."""

SHELL = [ENTRYPOINT, "python", f"{MODULES}/shell.py"]
"""What stands before a program that is to run in the server's container with all that MLflow's commands need."""
