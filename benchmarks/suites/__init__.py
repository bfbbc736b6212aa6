"""What is measured, one suite a file, each with a function `suite(options)`."""
