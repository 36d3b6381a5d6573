//! The Python face of `spanwire-core`: thin, one crossing per batch of messages.
