"""Sources, splits, augmentation, resident delivery and preparation of image data."""
