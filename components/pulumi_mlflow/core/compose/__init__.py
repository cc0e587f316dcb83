"""Reads compose files of MLflow deployments, and says what they mean as settings of a stack. Pure."""
