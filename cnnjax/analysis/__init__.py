"""What a network costs and sees, read off its traced program."""
