"""A table comes in; a recorded, registered and perhaps promoted model version goes out."""
