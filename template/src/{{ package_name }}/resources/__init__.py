"""Yours: the settings, and what else ships in the wheel."""
