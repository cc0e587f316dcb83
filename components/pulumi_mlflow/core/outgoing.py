"""What in MLflow makes its server call out, or run code, for whoever may write; and what keeps it off everywhere.

Where MLflow 3.17.2 has a switch, it is set. Where it has none, the paths are refused: by the server itself in the local
runtime (`local/app.py`), by the front door in the others, whose servers nobody else reaches. A test reads MLflow's own
table of routes, and fails when a version brings one that nobody has looked at.

Two more are off by other means: jobs (evaluations, scorers, prompt optimization) unless `tracking.jobs` turns them on,
see `server.server_environment`; and artifact locations that name a host, by MLflow's own default.
"""

WEBHOOK_SCHEMES = "MLFLOW_WEBHOOK_ALLOWED_SCHEMES"
"""Variable that says which URLs MLflow's webhooks may have."""

VARIABLES = {
    # Its endpoints call whatever provider, or host, a writer names.
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    # There is no switch. With a scheme that no URL has no webhook can be made, and one of a restored database is never
    # called. MLflow shows it to who tries: "Allowed schemes are: …". A comma would end it.
    WEBHOOK_SCHEMES: "none - webhooks are turned off in this stack and it has no setting that turns them on; "
    "see docs/hardening.md",
    # Python in the body of a request, run on the server.
    "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "false",
    # Programs for agents, a shell among them, for others than this machine.
    "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
    # A trace with the use of tokens makes the server download prices of the provider that the trace names. So it takes
    # those that MLflow brings along: nothing lies below /dev/null. Empty would do too, but Kubernetes drops what is.
    "MLFLOW_MODEL_CATALOG_URI": "file:///dev/null",
    # Icons of MCP servers are loaded by browsers only; to check that their hosts are public, the server would look up
    # each name that a writer gives.
    "MLFLOW_ICON_URL_ALLOW_PRIVATE_IPS": "true",
}
"""Variable of the server → value."""

REFUSED_PATHS = {
    "/ajax-api/3.0/mlflow/assistant": "The assistant runs programs on the server: it is turned off in this stack, "
    "and no setting turns it on.",
}
"""Beginning of a path → why it is refused, to whomever and in whatever mode."""
