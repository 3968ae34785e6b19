"""What the daemon goes by: hubd.toml and the files beside it, read, judged, shown and read again."""
