"""The original system's intermediate files -> columns; nothing in them is unpickled."""
