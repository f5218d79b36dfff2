"""The programs that people really use, against the patched tree."""
