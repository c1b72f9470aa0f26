"""A small asyncio controller kit that knows no kind of ours: caches, a work queue, workers, resync, leadership."""
