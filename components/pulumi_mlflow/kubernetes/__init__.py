"""MLflow on a Kubernetes cluster, ours or any other: one namespace, where nothing is allowed that is not named."""
