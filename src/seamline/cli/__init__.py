"""The command line, `seamline`."""
