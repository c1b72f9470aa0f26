"""The data path: finds the service of a request, holds it while nothing is ready, passes it to the least loaded pod."""
