"""What both packages use and is specific to neither data nor models."""
