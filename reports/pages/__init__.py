"""Pages of HTML, and what they say in words."""
