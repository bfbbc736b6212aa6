"""From pure functions to programs on devices, in one process or several."""
