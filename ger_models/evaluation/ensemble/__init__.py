"""Several predictions tables -> the weights of an ensemble."""
