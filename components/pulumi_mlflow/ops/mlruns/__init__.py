"""The parts of `import-mlruns`: the folder as it is, artifacts, the model registry, and what is told at the end."""
