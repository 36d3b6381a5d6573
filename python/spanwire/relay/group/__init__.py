"""Work groups: a stream's changes shared over members, at least once, in order per key."""
