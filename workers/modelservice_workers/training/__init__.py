"""The training launcher: runs a script and publishes what it wrote."""
