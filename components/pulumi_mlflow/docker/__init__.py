"""MLflow on a Docker Engine, local or remote (DOCKER_HOST): containers, named volumes, one network."""
