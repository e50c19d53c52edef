"""What raw downloads of several datasets have in common: label files, clips, random splits."""
