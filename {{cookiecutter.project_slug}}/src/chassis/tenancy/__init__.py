"""Which tenant it is, what it may use, and how nothing of another tenant is reached."""
