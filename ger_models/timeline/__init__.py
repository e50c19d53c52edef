"""A video's group over time: sampled frames, people, the group's curve and its segments."""
