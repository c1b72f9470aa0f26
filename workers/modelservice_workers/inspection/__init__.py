"""What a model is, read from the headers of its files: nothing is loaded, and no engine is needed."""
