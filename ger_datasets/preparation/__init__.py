"""Records -> columns -> Parquet shards, with a manifest and a card."""
