"""What is done with any network: initialise, run, observe, stack its blocks."""
