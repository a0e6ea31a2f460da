"""What people touch: the command line, explain and compare, show and save."""
