"""The Debian packages as files: what is in them, that they are the same twice, that they run."""
