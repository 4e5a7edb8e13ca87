"""Yours: the model, and the rules around it."""
