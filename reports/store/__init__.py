"""What reads and writes run folders, and loses nothing of them."""
