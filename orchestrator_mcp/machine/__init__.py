"""The machine that the program runs on: its port, its signals, who holds the data dir, the token, the shipped files."""
