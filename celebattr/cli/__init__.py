"""The command line: argv to a config, one call, a writer."""
