"""Open Inference Protocol v2, REST: requests to arrays, arrays to responses."""
