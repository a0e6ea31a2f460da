"""Trust checks: measured facts about an explanation.  One check a file; `card` runs those that apply."""
