"""A prepared dataset -> its splits and rows, from disk or the Hub, whole or streamed."""
