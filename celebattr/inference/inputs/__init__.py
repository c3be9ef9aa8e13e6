"""From what predict is given to a stream of inputs."""
