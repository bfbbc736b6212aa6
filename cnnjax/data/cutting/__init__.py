"""Which part of an image is seen: boxes, fixed or drawn, and cuts of photographs."""
