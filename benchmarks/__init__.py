"""Measurements. Each module with a `main` is a command; the others hold what several commands share."""
