"""A Django project whose views query on the event loop."""
