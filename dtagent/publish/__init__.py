"""Making labels true where they go, and keeping them so: on the Node, in NFD's features file, or on
the terminal. Labels come in; when to try again is decided here."""
