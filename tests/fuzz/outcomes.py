"""What a fuzzer tells of one input: its kind, what became of it, and what to say of a bad one."""

BAD = "bad"
