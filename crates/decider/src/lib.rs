//! What may happen: pure decisions. No clock, no randomness, no I/O, no async.
