"""What a timeline is written as: tables, a page with pictures, and a video."""
