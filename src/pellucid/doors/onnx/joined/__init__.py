"""What exporters spell out in several nodes, put together again, so that rules and maps know it by name."""
