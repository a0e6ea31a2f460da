"""How a View looks: the only place that writes markup.  One module a format, and `write` for files."""
