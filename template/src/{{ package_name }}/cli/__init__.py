"""Reads arguments, calls a room, prints. Nothing imports this room."""
