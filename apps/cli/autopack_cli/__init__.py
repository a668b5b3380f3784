"""The command ``autopack``."""

import os

# Before grpc is imported: what its C core prints on standard error, such as a failed handshake, is said by an error of
# our own already. Who looks for more sets the variable.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
