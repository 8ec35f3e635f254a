"""The commands, a file for each. Each imports what it needs when it runs, so that ``--help`` stays quick."""
