"""What things are and what is decided about them: values and pure functions, without I/O and without a clock."""
