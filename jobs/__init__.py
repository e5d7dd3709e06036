"""One file a command, for spark-submit: it binds the command to the frame of all."""
