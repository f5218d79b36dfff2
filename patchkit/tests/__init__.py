"""Tests of the commands, on small stand-ins for Django."""
