"""A small project of its own: its tests drive a browser."""
