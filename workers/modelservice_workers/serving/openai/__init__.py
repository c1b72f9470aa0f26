"""The part of OpenAI's API that fits a model of embeddings."""
