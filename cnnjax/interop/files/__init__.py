"""Weight files: recognise them, read them without running code, write them."""
