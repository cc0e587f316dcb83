"""Components that run MLflow on a Kubernetes cluster."""
