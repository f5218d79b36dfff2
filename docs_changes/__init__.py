"""The documentation that the series changes: its build and checks, and the review."""
