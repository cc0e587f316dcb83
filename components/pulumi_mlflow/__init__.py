"""Self-hosted MLflow as Pulumi components: one process, local Docker, or a cloud."""
