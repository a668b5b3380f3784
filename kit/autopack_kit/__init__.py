"""What every Autopack service shares: errors, settings, identity, servers, channels, storage, and a test kit."""
