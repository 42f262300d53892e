"""Bundled market history as Parquet files; README.md describes the columns and their origin."""
