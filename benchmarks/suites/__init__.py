"""The suites, one per file, each with a function `suite(options)`."""
