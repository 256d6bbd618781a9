"""The durable workflow: everything in this package is shipped to Lambda."""
