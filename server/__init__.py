"""The processes: settings, composition roots, the front, the page and the command line."""
