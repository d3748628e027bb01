"""A read-only web page on which people look at choices (`marquee browse`)."""
