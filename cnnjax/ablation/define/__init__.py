"""What a definition may say: axes, arms, claims, scales."""
