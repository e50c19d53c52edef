"""The model card, and checkpoints on the Hub."""
