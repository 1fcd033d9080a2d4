"""The checkpoint, the device it runs on, and decoding under a trie."""
