"""What must be true of a technique: properties, claims, peers, and the tests of Touchstone itself."""
