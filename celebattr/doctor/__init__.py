"""What is wrong with a data set, and what to do: findings, where the readers raise errors."""
