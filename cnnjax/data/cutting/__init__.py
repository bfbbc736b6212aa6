"""Which part of an image is seen: boxes, drawn or fixed, and the cuts of photographs."""
