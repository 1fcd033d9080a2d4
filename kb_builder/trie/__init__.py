"""Names as token ids, and the trie over them that decoding walks."""
