"""The vocabulary of operations that rules speak of, and which of them no rule spoke of."""
