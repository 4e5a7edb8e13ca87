"""Bytes come in; a table with a version, a fingerprint and a verdict on each row goes out."""
