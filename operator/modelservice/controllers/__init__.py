"""Controllers: gather from the caches, decide in the domain, apply and report."""
