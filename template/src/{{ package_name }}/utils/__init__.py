"""What every room may use: settings, seeds, paths, errors. Imports no room."""
