"""What the shop sells."""

from django.db import models


class Book(models.Model):
    """A book."""

    title = models.CharField(max_length=50)
