"""What each command does: plant and options in, plain results out. `options` reads its words, `tell` prints."""
