"""Where changes come from: a reader for each partition, over the official client's own channels."""
