"""The intention service's contact with the outside: where profiles are kept."""
