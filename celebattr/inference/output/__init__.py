"""Results as files and streams: formats, growing files, manifests and shards."""
