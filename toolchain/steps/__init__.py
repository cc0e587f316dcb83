"""What setup.py does, one module a subject. Standard library only: it runs before any venv exists."""
