"""Training as pure functions: they know no config and no device."""
