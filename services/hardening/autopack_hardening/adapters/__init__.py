"""Where the service reads its own packaged data."""
