"""The bodies of the durable steps: clock, environment and calls are here. A replay skips them."""
