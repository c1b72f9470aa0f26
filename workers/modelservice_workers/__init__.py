"""Processes that run inside model pods: the inference server and the training launcher."""

__version__ = "0.1.0"
