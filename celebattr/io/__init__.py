"""Files on a disk or in a store, and work done ahead in threads."""
