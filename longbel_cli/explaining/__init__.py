"""Which words of a prompt an answer depends on, shown as pages and on a terminal."""
