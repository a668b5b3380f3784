"""Where files come from: a directory on disk or a snapshot sent by a client."""
