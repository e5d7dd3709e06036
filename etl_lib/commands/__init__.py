"""One module a command, with its steps by name, and the frame that all of them have."""
