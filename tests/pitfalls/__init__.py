"""The mistakes of pitfalls.toml, made one by one, and what stops each."""
