"""Local changes of an input: only what each can change is computed, in every operation, many changes at once."""
