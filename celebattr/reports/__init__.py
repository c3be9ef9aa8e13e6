"""Results to files and pictures; nothing here computes one."""
