"""Files on a disk or in a store, and prefetching in threads."""
