"""ModelService: train, compress and serve models on Kubernetes inside a budget held in money."""

__version__ = "0.1.0"
