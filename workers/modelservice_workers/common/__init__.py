"""What serving and training share: artifacts, signatures, the termination message."""
