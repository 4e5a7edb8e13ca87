"""Rows come in; predictions go out, by one path for REST and batch alike."""
