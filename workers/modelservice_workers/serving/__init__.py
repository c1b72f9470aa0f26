"""The inference server: Open Inference Protocol v2 over HTTP with greedy batching."""
