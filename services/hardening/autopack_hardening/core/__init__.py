"""Pure domain code: no grpc, no stubs, no files, no environment."""
