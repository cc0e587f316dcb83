"""The local runtime: one supervised MLflow process, SQLite and a folder on this machine."""
