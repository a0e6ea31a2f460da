"""Other ways backwards, one family of rules a file."""
