"""The programs that hubd is compared with. Each prints one line of JSON with what it measured of itself."""
