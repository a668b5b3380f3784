"""Pure domain code of the intention service: no I/O, no network, no environment."""
