"""Yours: the columns, declared once, and how they become numbers."""
